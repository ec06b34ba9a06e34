/** Numbers as people read them. */
export const thousands = (value: number): string => `${Math.round(value / 1000)} k`;
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
