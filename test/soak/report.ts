import { renderTable } from '../../host/cli/table.js';
import { type Line, lineChart } from './line-chart.js';
import type { SeriesResult, SoakResult } from './run.js';
import { BOUNDS_EXPLAINED, boundText, CHARTS, type Chart } from './series.js';
import type { Point, Trend } from './trend.js';

/** Whether nothing failed and nothing rises. */
export function isSteady({ failed, failures, series }: SoakResult): boolean {
  return failed === 0 && failures.length === 0 && !series.some(({ rises }) => rises);
}

/** What a soak found, for a program to read. */
export function summaryOf({ series, ...result }: SoakResult): object {
  return {
    steady: isSteady({ series, ...result }),
    ...result,
    series: series.map(({ series: { name, unit, bound }, points, trend, rises }) => ({
      ...{ name, unit, rises, bound },
      ...{
        slopeAnHour: trend?.slope,
        interval99: trend && [trend.low, trend.high],
        middle: trend?.middle,
        jump: trend?.jump,
      },
      points,
    })),
  };
}

/** The same for people. */
export function textOf(result: SoakResult): string {
  const { minutes, cycles, warmUpMinutes, reloads, crashes, visitors, refusedVisitors } = result;
  const operations = Object.values(result.operations).reduce((sum, one) => sum + one, 0);
  const rising = result.series.filter(({ rises }) => rises).map(({ series }) => series.name);
  return [
    renderTable(['series', 'middle', 'slope an hour', '99% interval', 'bound', ''], result.series.map(row)),
    `${minutes.toFixed(1)} minutes (the first ${warmUpMinutes.toFixed(1)} are warm-up), ${cycles} cycles: ${operations} operations, ` +
      `${result.failed} failed; ${reloads} reloads, ${crashes} crashes, ${visitors} visitors, ${refusedVisitors} of them refused by a crash.`,
    ...Object.entries(result.late)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `Late ${count} times, by its driver's word: ${name}.`),
    ...Object.entries(result.errors).map(([text, count]) => `Logged ${count} times: ${text}`),
    ...result.failures.map((text) => `Failed: ${text}`),
    BOUNDS_EXPLAINED,
    rising.length === 0 ? 'Nothing rises.' : `Rising: ${rising.join(', ')}.`,
    '',
  ].join('\n');
}

function row({ series, trend, rises }: SeriesResult): string[] {
  if (trend === undefined) return [series.name, '', 'too few samples', '', boundText(series), ''];
  const { slope, low, high, middle } = trend;
  return [
    series.name,
    `${figure(middle)} ${series.unit}`,
    figure(slope),
    `${figure(low)} to ${figure(high)}`,
    boundText(series, trend),
    rises ? 'RISES' : '',
  ];
}

function figure(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

/** Charts as SVG documents, by file name. */
export function chartsOf({ series }: SoakResult): Record<string, string> {
  const names = Object.keys(CHARTS) as Chart[];
  return Object.fromEntries(
    names.map((name) => {
      const lines = series.filter((one) => one.series.chart === name).map(lineOf);
      return [`soak-${name}.svg`, lineChart(CHARTS[name], lines)];
    }),
  );
}

function lineOf({ series, points, trend }: SeriesResult): Line {
  return { label: series.name, points, fit: trend && fitOf(trend, points) };
}

/** The line through the middle of the time that the trend is of. */
function fitOf({ slope, middle, hours }: Trend, points: readonly Point[]): [Point, Point] {
  const end = points.at(-1)?.[0] ?? 0;
  return [
    [end - hours, middle - (slope * hours) / 2],
    [end, middle + (slope * hours) / 2],
  ];
}
