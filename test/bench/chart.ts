/** One bar of a chart. */
export interface Bar {
  label: string;
  value: number;
  /** The value in words, with its unit. */
  text: string;
  /** What the others are measured against. */
  isBaseline?: boolean;
}

const WIDTH = 720;
const ROW = 24;
const TOP = 34;
const LABEL_WIDTH = 190;
const TEXT_WIDTH = 110;
const BAR_HEIGHT = 14;
/** What charts are drawn in. */
export const COLOURS = { postern: '#3b6ea8', baseline: '#9aa5b1', text: '#57606a' } as const;

/** A bar chart as an SVG document, readable on light and dark ground. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const longest = Math.max(...bars.map(({ value }) => value));
  const room = WIDTH - LABEL_WIDTH - TEXT_WIDTH;
  const height = TOP + ROW * bars.length + 8;
  const rows = bars.flatMap(({ label, value, text, isBaseline = false }, index) => {
    const y = TOP + ROW * index;
    const width = Math.max(1, (value / longest) * room);
    const colour = isBaseline ? COLOURS.baseline : COLOURS.postern;
    const line = y + BAR_HEIGHT - 3;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${line}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${colour}"/>`,
      `<text x="${(LABEL_WIDTH + width + 6).toFixed(1)}" y="${line}">${escaped(text)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="${COLOURS.text}">`,
    `<text x="8" y="18" font-size="14" font-weight="bold">${escaped(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n');
}

/** Text as a document of markup has it. */
export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
