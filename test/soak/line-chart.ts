import { COLOURS, escaped } from '../bench/chart.js';
import type { Point } from './trend.js';

/** A line of a chart. */
export interface Line {
  label: string;
  points: readonly Point[];
  /** From where to where a straight line was fitted, if one was. */
  fit?: readonly [Point, Point] | undefined;
}

const WIDTH = 720;
const PLOT = { left: 64, right: 500, top: 34, bottom: 250 } as const;
const HEIGHT = 290;
const LEGEND_ROW = 16;
/** Told apart also without their colours, by the legend's order, which is that of the lines' ends. */
const PALETTE = [
  '#3b6ea8',
  '#c2571a',
  '#3f8f5b',
  '#8a5aa8',
  '#b03a48',
  '#7a6a2f',
  '#3a9a9a',
  '#6b7280',
  '#a85a8a',
  '#52616b',
] as const;
const MINUTES_AN_HOUR = 60;
const TICKS = 4;

/** Lines over the minutes of a run as an SVG document; the vertical axis is logarithmic, for lines that differ by decades. */
export function lineChart(title: string, lines: readonly Line[]): string {
  const drawn = lines.filter(({ points }) => points.length > 1);
  const values = drawn.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => value > 0);
  const [low, high] = [Math.min(...values) / 1.1, Math.max(...values) * 1.1];
  const last = Math.max(...drawn.flatMap(({ points }) => points.map(([hours]) => hours)));
  const x = (hours: number): number => PLOT.left + (hours / last) * (PLOT.right - PLOT.left);
  const y = (value: number): number => {
    const share = Math.log(Math.max(value, low) / low) / Math.log(high / low);
    return PLOT.bottom - share * (PLOT.bottom - PLOT.top);
  };
  const path = (points: readonly Point[]): string =>
    points.map(([hours, value]) => `${x(hours).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const body = drawn.flatMap(({ label, points, fit }, index) => {
    const colour = PALETTE[index % PALETTE.length];
    const row = PLOT.top + 8 + index * LEGEND_ROW;
    return [
      `<polyline points="${path(points)}" fill="none" stroke="${colour}" stroke-width="1.2"/>`,
      ...(fit === undefined
        ? []
        : [
            `<polyline points="${path(fit)}" fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="6 4"/>`,
          ]),
      `<rect x="${PLOT.right + 12}" y="${row - 8}" width="10" height="10" fill="${colour}"/>`,
      `<text x="${PLOT.right + 28}" y="${row + 1}">${escaped(label)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="${COLOURS.text}">`,
    `<text x="8" y="18" font-size="14" font-weight="bold">${escaped(title)}</text>`,
    ...axes(low, high, last, x, y),
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function axes(
  low: number,
  high: number,
  last: number,
  x: (hours: number) => number,
  y: (value: number) => number,
): string[] {
  const levels = Array.from({ length: TICKS + 1 }, (_, index) => low * (high / low) ** (index / TICKS));
  const times = Array.from({ length: TICKS + 1 }, (_, index) => (last * index) / TICKS);
  return [
    ...levels.flatMap((value) => [
      `<line x1="${PLOT.left}" y1="${y(value).toFixed(1)}" x2="${PLOT.right}" y2="${y(value).toFixed(1)}" stroke="${COLOURS.baseline}" stroke-width="0.4"/>`,
      `<text x="${PLOT.left - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${short(value)}</text>`,
    ]),
    ...times.map(
      (hours) =>
        `<text x="${x(hours).toFixed(1)}" y="${PLOT.bottom + 18}" text-anchor="middle">${short(hours * MINUTES_AN_HOUR)}</text>`,
    ),
    `<text x="${(PLOT.left + PLOT.right) / 2}" y="${PLOT.bottom + 34}" text-anchor="middle">minutes; dashed: what fits after the warm-up</text>`,
  ];
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}
