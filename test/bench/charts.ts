import { type Bar, barChart, type Line, lineChart } from './chart.js';
import type { DecisionResult } from './decision.js';
import type { FairnessResult } from './fairness.js';
import type { GrowthResult } from './growth.js';
import type { InputResult } from './input.js';
import type { NoopResult, Way } from './noop.js';
import type { PacketsResult } from './packets.js';
import type { ReloadResult } from './reload.js';
import type { ScaleFigures, ScaleResult } from './scale.js';
import type { StartResult } from './start.js';
import type { StreamResult } from './stream.js';
import type { Results } from './suite.js';
import type { UntouchedResult } from './untouched.js';
import { thousands } from './words.js';

/** What noop's ways are called, for people. */
export const NOOP_LABELS: Readonly<Record<Way, string>> = {
  native: 'native',
  floor: 'bare supervisor',
  floorCopy: 'bare supervisor, copying',
  verdict: 'trapped, refused',
  transparent: 'trapped',
  transparentCopy: 'trapped, copying',
  fastVerdict: 'posted, refused',
  fastLocal: 'posted',
  vm: 'trapped, driver VM',
  fastVm: 'posted, driver VM',
  guestVm: 'guest VM, driver VM',
};
const BASELINES: ReadonlySet<string> = new Set(['native', 'floor', 'floorCopy']);

/** Every chart that can be drawn of these results, as SVG documents by file name. */
export function charts(results: Partial<Results>): Record<string, string> {
  const { noop, decision, stream, input, packets, start, untouched, scale, growth, reload, fairness } =
    results;
  const drawn: Record<string, string | undefined> = {
    'noop.svg': noop && barChart('One ioctl, microseconds (median)', noopBars(noop)),
    'decision.svg':
      decision && barChart('One decision, nanoseconds (median); Cedar’s bar is cut', decisionBars(decision)),
    'stream.svg': stream && barChart('Processor time for one camera frame, milliseconds', streamBars(stream)),
    'input.svg':
      input && barChart('From a write on uinput to the read of the event, microseconds', inputBars(input)),
    'packets.svg':
      packets && barChart('TUN packets of 1 KiB, thousands a second, by batch', packetBars(packets)),
    'start.svg': start && barChart('Start, milliseconds (median)', startBars(start)),
    'untouched.svg':
      untouched &&
      barChart('A guest that touches no guarded device: time, to native', untouchedBars(untouched)),
    'scale.svg': scale && scaleChart(scale),
    'memory.svg': scale && memoryChart(scale),
    'growth.svg': growth && growthChart(growth),
    'reload.svg': reload && barChart('One call of four guests at work, milliseconds', reloadBars(reload)),
    'fairness.svg':
      fairness &&
      barChart('99th percentile beside a guest that floods, microseconds', fairnessBars(fairness)),
  };
  return Object.fromEntries(
    Object.entries(drawn).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function noopBars(noop: NoopResult): Bar[] {
  const longest = Math.max(...(Object.keys(NOOP_LABELS) as Way[]).filter(isShown).map((way) => noop[way]));
  return (Object.keys(NOOP_LABELS) as Way[]).map((way) => ({
    label: NOOP_LABELS[way],
    value: Math.min(noop[way], longest),
    text: `${noop[way].toFixed(1)} µs${isShown(way) ? '' : ' (cut)'}`,
    isBaseline: BASELINES.has(way),
  }));
}

/** A guest VM's bar would be many times as long as the others. */
const isShown = (way: Way): boolean => way !== 'guestVm';

/** Cedar's bar would be hundreds of times as long as the others. */
function decisionBars({ typicalNs, nestedNs, caslNs, cedarNs, nativeNs }: DecisionResult): Bar[] {
  const longest = Math.max(typicalNs, nestedNs, caslNs);
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value: Math.min(value, longest), isBaseline },
    text: `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ns`,
  });
  return [
    bar('typical', typicalNs),
    bar('nested', nestedNs),
    bar('Cedar (Wasm)', cedarNs, true),
    bar('CASL (JavaScript)', caslNs, true),
    bar('by hand, in C', nativeNs, true),
  ];
}

function streamBars(stream: StreamResult): Bar[] {
  const bar = (label: string, us: number, isBaseline = false): Bar => ({
    ...{ label, value: us, isBaseline },
    text: `${(us / 1000).toFixed(1)} ms`,
  });
  return Object.entries(stream).flatMap(([size, { guestCpuUs, directCpuUs }]) => [
    bar(`${size}: beside the driver`, directCpuUs, true),
    bar('guest', guestCpuUs),
  ]);
}

function inputBars({ guestUs, directUs }: InputResult): Bar[] {
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value, isBaseline },
    text: `${value.toFixed(1)} µs`,
  });
  return [bar('beside the driver', directUs, true), bar('two guests', guestUs)];
}

function reloadBars({ p999Ms, longestMs }: ReloadResult): Bar[] {
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value, isBaseline },
    text: `${value.toFixed(2)} ms`,
  });
  return [
    bar('99.9 %, quiet', p999Ms.quiet, true),
    bar('while exchanging', p999Ms.swapping),
    bar('longest, quiet', longestMs.quiet, true),
    bar('while exchanging', longestMs.swapping),
  ];
}

function fairnessBars({ local, vm }: FairnessResult): Bar[] {
  return [['local', local] as const, ['driver VM', vm] as const].flatMap(([where, { busy }]) => [
    {
      label: `${where}: alone`,
      value: busy.p99Us.alone,
      text: `${busy.p99Us.alone.toFixed(1)} µs`,
      isBaseline: true,
    },
    { label: 'beside a flood', value: busy.p99Us.flooded, text: `${busy.p99Us.flooded.toFixed(1)} µs` },
  ]);
}

function packetBars(packets: PacketsResult): Bar[] {
  return Object.entries(packets).flatMap(([batch, { guest, trapped, native, floor }]) => [
    { label: `${batch}: native`, value: native, text: thousands(native), isBaseline: true },
    { label: 'passed on unjudged', value: floor, text: thousands(floor), isBaseline: true },
    { label: 'posted', value: guest, text: thousands(guest) },
    { label: 'trapped', value: trapped, text: thousands(trapped) },
  ]);
}

function startBars(start: StartResult): Bar[] {
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value, isBaseline },
    text: `${value.toFixed(0)} ms`,
  });
  return [
    bar('true', start.trueMs, true),
    bar('postern run true', start.runTrueMs),
    bar('first frame, from a snapshot', start.firstFrameSnapshotMs),
    bar('first frame, cold', start.firstFrameColdMs),
    bar('postern vm run true', start.vmRunTrueMs),
    bar('set-up with nothing to do', start.setupIdleMs),
  ];
}

function untouchedBars({ blocks, compileRatio, scriptRatio }: UntouchedResult): Bar[] {
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value, isBaseline },
    text: value.toFixed(3),
  });
  return [
    bar('native', 1, true),
    ...Object.entries(blocks).flatMap(([bytes, { pipeRatio, fileRatio }]) => [
      bar(`pipe, ${Number(bytes) / 1024} KiB`, pipeRatio),
      bar(`file, ${Number(bytes) / 1024} KiB`, fileRatio),
    ]),
    bar('a compilation', compileRatio),
    bar('a script over small files', scriptRatio),
  ];
}

function lineOf(
  label: string,
  scale: ScaleResult,
  of: (figures: ScaleFigures) => number,
  unit: string,
): Line {
  const points = Object.entries(scale).map(([count, figures]) => [Number(count), of(figures)] as const);
  return { label, points, text: `${(points.at(-1)?.[1] ?? Number.NaN).toFixed(1)} ${unit}` };
}

function scaleChart(scale: ScaleResult): string {
  const perSecond = lineOf('all', scale, ({ opsPerSecond }) => opsPerSecond / 1000, 'k/s');
  const floor = lineOf('bare', scale, ({ floorOpsPerSecond }) => floorOpsPerSecond / 1000, 'k/s');
  return lineChart('Operations of all guests together, the same load in all', [perSecond, floor], {
    x: 'guests at work',
    y: 'thousands a second',
  });
}

function memoryChart(scale: ScaleResult): string {
  const more = Object.fromEntries(Object.entries(scale).filter(([count]) => count !== '1'));
  const lines = [
    lineOf('all of it', more, ({ memoryMbPerGuest }) => memoryMbPerGuest, 'MB'),
    lineOf('host', more, ({ memoryMb }) => memoryMb.host, 'MB'),
    lineOf('program', more, ({ memoryMb }) => memoryMb.guests, 'MB'),
  ];
  return lineChart('Memory of each guest beyond the first', lines, { x: 'idle guests', y: 'MB' });
}

function growthChart({ sessions, handles }: GrowthResult): string {
  const line = (label: string, figures: GrowthResult['sessions']): Line => ({
    label,
    points: Object.entries(figures).map(([count, { medianUs }]) => [Number(count), medianUs]),
    text: `${(Object.values(figures).at(-1)?.medianUs ?? Number.NaN).toFixed(1)} µs`,
  });
  return lineChart(
    'One operation of a guest, by how much it has',
    [line('open files', sessions), line('handles, driver VM', handles)],
    { x: 'how many it has', y: 'µs (median)' },
  );
}
