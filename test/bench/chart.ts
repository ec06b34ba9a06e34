/** Charts as SVG documents that are readable on light and on dark ground. */

/** One bar of a chart. */
export interface Bar {
  label: string;
  value: number;
  /** The value in words, with its unit. */
  text: string;
  /** What the others are measured against. */
  isBaseline?: boolean;
}

/** A line of a chart: points of a number and what was measured then. */
export interface Line {
  label: string;
  points: readonly (readonly [x: number, y: number])[];
  /** Of the last point. */
  text: string;
}

const WIDTH = 720;
const ROW = 24;
const TOP = 40;
const LABEL_WIDTH = 210;
const TEXT_WIDTH = 110;
const BAR_HEIGHT = 14;
const PLOT = { left: 56, right: 190, height: 200, foot: 46 } as const;
const DOT_RADIUS = 3.5;
/** Nearer labels of lines would cover each other. */
const LABEL_HEIGHT = 16;
const LINE_CLASSES = ['postern', 'second', 'third'] as const;
/** What is neither Postern's figure nor another one's, on both grounds. */
export const COLOURS = { baseline: '#9aa5b1', text: '#57606a' } as const;
/** Each colour has contrast enough on both grounds; who asks for dark gets lighter ones. */
const STYLE = `<style>
text { fill: ${COLOURS.text}; font: 12px sans-serif; }
.title { font-size: 14px; font-weight: bold; }
.postern { fill: #2f6db3; stroke: #2f6db3; }
.second { fill: #b3612f; stroke: #b3612f; }
.third { fill: #4b8f3f; stroke: #4b8f3f; }
.baseline { fill: ${COLOURS.baseline}; }
.grid { stroke: ${COLOURS.baseline}; stroke-opacity: 0.35; }
rect { stroke: none; }
polyline { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #b6c0cb; }
.postern { fill: #6ba4e8; stroke: #6ba4e8; }
.second { fill: #e39b6b; stroke: #e39b6b; }
.third { fill: #86c979; stroke: #86c979; }
.baseline { fill: #6e7884; }
}
</style>`;

/**
 * A bar chart.
 * @param bars at least one; not negative
 */
export function barChart(title: string, bars: readonly Bar[]): string {
  const longest = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE);
  const room = WIDTH - LABEL_WIDTH - TEXT_WIDTH;
  const rows = bars.flatMap(({ label, value, text, isBaseline = false }, index) => {
    const y = TOP + ROW * index;
    const width = Math.max(1, (value / longest) * room);
    const line = y + BAR_HEIGHT - 3;
    const kind = isBaseline ? 'baseline' : 'postern';
    return [
      textAt(LABEL_WIDTH - 8, line, label, 'end'),
      `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${fixed(width)}" height="${BAR_HEIGHT}" rx="2"/>`,
      textAt(LABEL_WIDTH + width + 6, line, text),
    ];
  });
  return document(title, TOP + ROW * bars.length + 8, rows);
}

/**
 * A chart of lines over numbers that grow by factors: the axis below is logarithmic, the one at the side begins at 0.
 * @param lines at least one, at most three, each with at least one point
 * @param axes what is counted below, and what is measured, with its unit
 */
export function lineChart(title: string, lines: readonly Line[], axes: { x: string; y: string }): string {
  const points = lines.flatMap((line) => line.points);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const top = niceAbove(Math.max(...points.map(([, y]) => y)));
  const [first, last] = [Math.log(xs[0] as number), Math.log(xs.at(-1) as number)];
  const room = WIDTH - PLOT.left - PLOT.right;
  const across = (x: number) => PLOT.left + ((Math.log(x) - first) / Math.max(last - first, 1e-9)) * room;
  const down = (y: number) => TOP + PLOT.height * (1 - y / top);
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    `<line class="grid" x1="${PLOT.left}" x2="${PLOT.left + room}" y1="${fixed(down(share * top))}" y2="${fixed(down(share * top))}"/>`,
    textAt(PLOT.left - 6, down(share * top) + 4, String(Number((share * top).toPrecision(4))), 'end'),
  ]);
  const ticks = xs.map((x) => textAt(across(x), TOP + PLOT.height + 18, String(x), 'middle'));
  const labels = labelLines(lines, down);
  const drawn = lines.flatMap((line, index) => drawLine(line, LINE_CLASSES[index] ?? 'third', across, down));
  const names = [textAt(PLOT.left + room / 2, TOP + PLOT.height + 36, axes.x, 'middle')];
  return document(`${title}, ${axes.y}`, TOP + PLOT.height + PLOT.foot, [
    ...grid,
    ...ticks,
    ...drawn,
    ...labels,
    ...names,
  ]);
}

function drawLine(
  { points }: Line,
  kind: string,
  across: (x: number) => number,
  down: (y: number) => number,
): string[] {
  const places = points.map(([x, y]) => [fixed(across(x)), fixed(down(y))] as const);
  return [
    `<polyline class="${kind}" style="fill:none" points="${places.map(([x, y]) => `${x},${y}`).join(' ')}"/>`,
    ...places.map(([x, y]) => `<circle class="${kind}" cx="${x}" cy="${y}" r="${DOT_RADIUS}"/>`),
  ];
}

/** Beside the lines' ends, moved apart where they are close. */
function labelLines(lines: readonly Line[], down: (y: number) => number): string[] {
  const left = WIDTH - PLOT.right + 10;
  const wanted = lines.map(({ points, label, text }, index) => ({
    y: down(points.at(-1)?.[1] ?? 0) + 4,
    label: `${label}: ${text}`,
    kind: LINE_CLASSES[index] ?? 'third',
  }));
  wanted.sort((a, b) => a.y - b.y);
  for (let index = 1; index < wanted.length; index++) {
    const [above, below] = [wanted[index - 1], wanted[index]] as [{ y: number }, { y: number }];
    below.y = Math.max(below.y, above.y + LABEL_HEIGHT);
  }
  return wanted.flatMap(({ y, label, kind }) => [
    `<rect class="${kind}" x="${left}" y="${fixed(y - 9)}" width="9" height="9" rx="2"/>`,
    textAt(left + 14, y, label),
  ]);
}

/** The next number of one digit that has round quarters. */
function niceAbove(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 3, 4, 6, 8, 10].find((factor) => factor * unit >= value) ?? 10) * unit;
}

function document(title: string, height: number, content: readonly string[]): string {
  return [
    '<!-- Generated by npm run bench. -->',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">`,
    STYLE,
    `<text class="title" x="8" y="18">${escaped(title)}</text>`,
    ...content,
    '</svg>',
    '',
  ].join('\n');
}

function textAt(x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end' = 'start'): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}

const fixed = (value: number): string => value.toFixed(1);
/** Text as a document of markup has it. */
export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
