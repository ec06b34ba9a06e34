import { renderTable } from '../../host/cli/table.js';
import { type Bar, barChart } from './chart.js';
import type { DecisionResult } from './decision.js';
import type { FairnessFigures, FairnessResult } from './fairness.js';
import type { NoopResult, Way } from './noop.js';
import type { PacketsResult } from './packets.js';
import type { ReloadResult } from './reload.js';
import type { ScaleFigures, ScaleResult } from './scale.js';
import type { StartResult } from './start.js';
import type { StreamResult } from './stream.js';
import type { UntouchedResult } from './untouched.js';

/** What all benchmarks found, by their names. */
export interface Results {
  noop: NoopResult;
  decision: DecisionResult;
  stream: StreamResult;
  packets: PacketsResult;
  start: StartResult;
  untouched: UntouchedResult;
  scale: ScaleResult;
  reload: ReloadResult;
  fairness: FairnessResult;
}
export type Name = keyof Results;

/** Each benchmark's result as text. */
export const REPORTS: { [N in Name]: (result: Results[N]) => string } = {
  noop: reportNoop,
  decision: reportDecision,
  stream: reportStream,
  packets: reportPackets,
  start: reportStart,
  untouched: reportUntouched,
  scale: reportScale,
  reload: reportReload,
  fairness: reportFairness,
};

/** Charts as SVG documents, by file name. */
export function charts({ noop, decision, packets, scale }: Partial<Results>): Record<string, string> {
  const drawn: Record<string, string> = {};
  if (noop !== undefined) drawn['noop.svg'] = barChart('One ioctl, microseconds (median)', noopBars(noop));
  if (decision !== undefined)
    drawn['decision.svg'] = barChart('One decision, nanoseconds (median)', decisionBars(decision));
  if (packets !== undefined)
    drawn['packets.svg'] = barChart('TUN packets a second, by batch', packetBars(packets));
  if (scale !== undefined)
    drawn['scale.svg'] = barChart('Operations a second of one host, by guests', scaleBars(scale));
  return drawn;
}

const NOOP_LABELS: Readonly<Record<Way, string>> = {
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

function noopBars(noop: NoopResult): Bar[] {
  return (Object.keys(NOOP_LABELS) as Way[]).map((way) => ({
    label: NOOP_LABELS[way],
    value: noop[way],
    text: `${noop[way].toFixed(1)} µs`,
    isBaseline: BASELINES.has(way),
  }));
}

/** Cedar is left out: its bar would be hundreds of times as long as the others. */
function decisionBars({ typicalNs, nestedNs, caslNs, nativeNs }: DecisionResult): Bar[] {
  const bar = (label: string, value: number, isBaseline = false): Bar => ({
    ...{ label, value, isBaseline },
    text: `${value.toFixed(0)} ns`,
  });
  return [
    bar('typical', typicalNs),
    bar('nested', nestedNs),
    bar('CASL (JavaScript)', caslNs, true),
    bar('by hand, in C', nativeNs, true),
  ];
}

function packetBars(packets: PacketsResult): Bar[] {
  return Object.entries(packets).flatMap(([batch, { guest, trapped, native }]) => [
    { label: `${batch}: native`, value: native, text: thousands(native), isBaseline: true },
    { label: 'posted', value: guest, text: thousands(guest) },
    { label: 'trapped', value: trapped, text: thousands(trapped) },
  ]);
}

function scaleBars(scale: ScaleResult): Bar[] {
  return guestCounts(scale).map(([guests, { opsPerSecond }]) => ({
    label: `${guests} guests`,
    value: opsPerSecond,
    text: thousands(opsPerSecond),
  }));
}

const guestCounts = (scale: ScaleResult): [string, ScaleFigures][] =>
  Object.entries(scale).filter(([name]) => name !== 'sessions') as [string, ScaleFigures][];
const thousands = (value: number): string => `${Math.round(value / 1000)} k`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function reportNoop(noop: NoopResult): string {
  const ratios: Partial<Record<string, number>> = noop.ratios;
  const rows = (Object.keys(NOOP_LABELS) as Way[]).map((way) => [
    NOOP_LABELS[way],
    noop[way].toFixed(2),
    noop.p99[way].toFixed(1),
    percent(noop.spread[way]),
    way === 'fastLocal' ? '' : (ratios[way]?.toFixed(2) ?? ''),
  ]);
  const steps = Object.entries(noop.stepsUs).map(([step, us]) => `${step} ${us.toFixed(2)}`);
  return [
    renderTable(['one ioctl', 'median µs', 'p99 µs', 'spread', 'to its floor'], rows),
    `Posting adds ${noop.ratios.fastLocal.toFixed(2)} of what being trapped adds. What steps of a supervisor cost, µs: ${steps.join(', ')}\n`,
  ].join('\n');
}

function reportDecision(decision: DecisionResult): string {
  const rows = (['typicalNs', 'nestedNs', 'completeNs', 'caslNs', 'cedarNs', 'nativeNs'] as const).map(
    (name) => [name.slice(0, -2), decision[name].toFixed(0)],
  );
  const { cedarToTypical, typicalToNative } = decision.ratios;
  return [
    renderTable(['one decision', 'ns'], rows),
    `Cedar takes ${cedarToTypical.toFixed(0)} times as long, C by hand 1/${typicalToNative.toFixed(0)} (spread ${percent(decision.spread)})\n`,
  ].join('\n');
}

function reportStream(stream: StreamResult): string {
  const rows = Object.entries(stream).map(([size, one]) => [
    size,
    one.guestFps.toFixed(3),
    one.directFps.toFixed(3),
    one.ratio.toFixed(4),
    one.guestVmRatio.toFixed(4),
    `${one.guestLost} / ${one.directLost}`,
    `${one.guestCpuUs.toFixed(0)} / ${one.directCpuUs.toFixed(0)}`,
    percent(one.spread),
  ]);
  const head = [
    'stream',
    'guest fps',
    'beside the driver',
    'ratio',
    'guest VM',
    'lost',
    'CPU µs a frame',
    'spread',
  ];
  return renderTable(head, rows);
}

function reportPackets(packets: PacketsResult): string {
  const rows = Object.entries(packets).map(([batch, one]) => [
    batch,
    thousands(one.native),
    thousands(one.guest),
    thousands(one.trapped),
    one.ratio.toFixed(3),
    one.extraUs.toFixed(2),
    percent(one.spread),
  ]);
  const head = ['packets, batch', 'native /s', 'posted /s', 'trapped /s', 'ratio', 'more µs each', 'spread'];
  return renderTable(head, rows);
}

function reportStart(start: StartResult): string {
  const names = [
    'firstFrameSnapshotMs',
    'firstFrameColdMs',
    'runTrueMs',
    'trueMs',
    'vmRunTrueMs',
    'setupIdleMs',
  ] as const;
  return renderTable(
    ['start', 'ms'],
    names.map((name) => [name.slice(0, -2), start[name].toFixed(0)]),
  );
}

function reportUntouched(untouched: UntouchedResult): string {
  const rows = Object.entries(untouched.blocks).map(([bytes, one]) => [
    `${bytes} bytes`,
    one.pipeRatio.toFixed(3),
    one.fileRatio.toFixed(3),
    one.pipeNs.toFixed(0),
    one.extraNsPerCall.toFixed(0),
  ]);
  const head = ['untouched', 'pipe ratio', 'file ratio', 'native ns per call', 'more ns per call'];
  const { ioRatio, compileRatio, openUs, nativeOpenUs, callExtraNs, spread } = untouched;
  return [
    renderTable(head, rows),
    `ordinary I/O: ${ioRatio.toFixed(3)} of native (spread ${percent(spread)}); a compilation: ${compileRatio.toFixed(3)}; ` +
      `an open: ${openUs.toFixed(1)} µs more than ${nativeOpenUs.toFixed(1)}; any other call: ${callExtraNs.toFixed(0)} ns more\n`,
  ].join('\n');
}

function reportScale(scale: ScaleResult): string {
  const rows = guestCounts(scale).map(([guests, one]) => [
    guests,
    thousands(one.opsPerSecond),
    one.medianUs.toFixed(1),
    guests === '1' ? '' : one.memoryMbPerGuest.toFixed(1),
    one.costToOne.toFixed(2),
  ]);
  const files = Object.entries(scale.sessions).map(
    ([count, { medianUs }]) => `${count}: ${medianUs.toFixed(1)}`,
  );
  return [
    renderTable(['guests', 'operations /s', 'median µs', 'MB a guest', 'cost to one guest'], rows),
    `one guest by its open files, median µs: ${files.join(', ')}\n`,
  ].join('\n');
}

function reportReload(reload: ReloadResult): string {
  const times = (name: 'quiet' | 'swapping'): string[] => [
    name,
    reload.p999Ms[name].toFixed(2),
    reload.longestMs[name].toFixed(2),
    (name === 'quiet' ? reload.quietGapRatio : reload.longestGapRatio).toFixed(2),
  ];
  const head = [`${reload.guests} guests`, '99.9 % ms', 'longest ms', 'to the quiet 99.9 %'];
  return [
    renderTable(head, [times('quiet'), times('swapping')]),
    `${reload.operations} operations, ${reload.failed} failed; ${reload.swaps} swaps of ${reload.reloadMs.toFixed(1)} ms; ` +
      `memory over ${reload.reloads} reloads: ${reload.rssSlopeMb.toFixed(2)} MB a hundred\n`,
  ].join('\n');
}

function reportFairness({ local, vm }: FairnessResult): string {
  const row = (label: string, { medianUs, p99Us, longestUs, p99Ratio }: FairnessFigures): string[] => [
    label,
    ...[medianUs, p99Us, longestUs].map(
      ({ alone, flooded }) => `${alone.toFixed(1)} / ${flooded.toFixed(1)}`,
    ),
    p99Ratio.toFixed(2),
  ];
  const head = [
    'a guest alone / beside one that floods',
    'median µs',
    '99 % µs',
    'longest µs',
    'ratio of 99 %',
  ];
  const rows = [
    row('driver here, call after call', local.busy),
    row('driver here, with rests', local.paced),
    row('driver VM, call after call', vm.busy),
    row('driver VM, with rests', vm.paced),
  ];
  const floods = [local.busy, vm.busy].map(({ floodPerSecond }) => Math.round(floodPerSecond)).join(' and ');
  return `${renderTable(head, rows)}\nthe flood's calls a second: ${floods}\n`;
}
