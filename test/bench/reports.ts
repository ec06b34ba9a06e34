import { renderTable } from '../../host/cli/table.js';
import type { AudioResult } from './audio.js';
import { NOOP_LABELS } from './charts.js';
import type { DecisionResult } from './decision.js';
import type { FairnessFigures, FairnessResult } from './fairness.js';
import type { GrowthResult } from './growth.js';
import type { InputResult } from './input.js';
import type { NoopResult, Way } from './noop.js';
import type { PacketsResult } from './packets.js';
import type { Figures } from './record.js';
import type { ReloadResult } from './reload.js';
import { growthOf, type ScaleResult } from './scale.js';
import type { StartResult } from './start.js';
import type { StreamResult } from './stream.js';
import { NAMES, type Name, type Results } from './suite.js';
import type { UntouchedResult } from './untouched.js';
import { percent, thousands } from './words.js';

/** Each benchmark's result as text. */
const REPORTS: { readonly [N in Name]: (result: Results[N]) => string } = {
  noop: reportNoop,
  decision: reportDecision,
  stream: reportStream,
  audio: reportAudio,
  input: reportInput,
  packets: reportPackets,
  start: reportStart,
  untouched: reportUntouched,
  scale: reportScale,
  growth: reportGrowth,
  reload: reportReload,
  fairness: reportFairness,
};

/** All figures as text for people. */
export function renderFigures(figures: Figures): string {
  const { processor, processors, memoryGb, kernel, node, governor } = figures.machine;
  const report = <N extends Name>(name: N): string[] => {
    const [result, moment] = [figures[name], figures.measured[name]];
    if (result === undefined || moment === undefined) return [];
    const took = `${name}: ${moment.seconds.toFixed(0)} s, load ${moment.load.toFixed(1)}`;
    return [`${took}\n${REPORTS[name](result as Results[N])}`];
  };
  return [
    `${processor}, ${processors} processors, ${memoryGb} GB, Linux ${kernel}, Node ${node}, clock governor ${governor}`,
    ...NAMES.flatMap(report),
  ].join('\n');
}

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
    `Posting adds ${noop.ratios.fastLocal.toFixed(2)} of what being trapped adds. Trapped is ${noop.ratios.transparentDomain.toFixed(2)} times a bare supervisor that has another process drive. What steps of a supervisor cost, µs: ${steps.join(', ')}\n`,
  ].join('\n');
}

function reportDecision(decision: DecisionResult): string {
  const rows = (['typical', 'nested', 'complete', 'casl', 'cedar', 'native'] as const).map((name) => [
    name,
    decision[`${name}Ns`].toFixed(name === 'native' ? 1 : 0),
    decision.p99[name].toFixed(name === 'native' ? 1 : 0),
    percent(decision.spread[name]),
  ]);
  const { cedarToTypical, typicalToNative } = decision.ratios;
  return [
    renderTable(['one decision', 'ns', 'p99 of blocks', 'spread'], rows),
    `Cedar takes ${cedarToTypical.toFixed(0)} times as long, C by hand 1/${typicalToNative.toFixed(0)}\n`,
  ].join('\n');
}

function reportStream(stream: StreamResult): string {
  const ms = (us: number): string => (us / 1000).toFixed(1);
  const rows = Object.entries(stream).map(([size, one]) => [
    size,
    one.guestFps.toFixed(3),
    one.directFps.toFixed(3),
    one.ratio.toFixed(4),
    one.guestVmRatio.toFixed(4),
    `${one.guestLost} / ${one.directLost} / ${one.guestVmLost}`,
    [one.p99GapMs.guest, one.p99GapMs.direct, one.p99GapMs.guestVm].map((gap) => gap.toFixed(1)).join(' / '),
    [one.guestCpuUs, one.directCpuUs, one.guestVmCpuUs].map(ms).join(' / '),
    percent(one.spread),
  ]);
  const head = [
    'stream: guest / direct / guest VM',
    'guest fps',
    'beside the driver',
    'ratio',
    'guest VM',
    'lost',
    'p99 gap ms',
    'CPU ms a frame',
    'spread',
  ];
  return renderTable(head, rows);
}

function reportAudio(audio: AudioResult): string {
  const rows = [
    [
      'guest',
      audio.guestUnderruns.toFixed(0),
      audio.guestOverruns.toFixed(0),
      audio.guestSeconds.toFixed(3),
      audio.guestCpuMs.toFixed(0),
    ],
    [
      'beside the driver',
      audio.directUnderruns.toFixed(0),
      audio.directOverruns.toFixed(0),
      audio.directSeconds.toFixed(3),
      audio.directCpuMs.toFixed(0),
    ],
  ];
  const head = [
    'audio',
    'underruns',
    'overruns',
    `seconds for ${audio.soundSeconds} s of sound`,
    'CPU ms a second',
  ];
  return renderTable(head, rows);
}

function reportInput(input: InputResult): string {
  const row = (way: 'guest' | 'direct', label: string): string[] => [
    label,
    input[`${way}Us`].toFixed(1),
    input.p99[way].toFixed(1),
    input.writeUs[way].toFixed(1),
  ];
  return [
    renderTable(
      ['input, from write to read', 'median µs', 'p99 µs', 'of it the write'],
      [row('guest', 'guests'), row('direct', 'beside the driver')],
    ),
    `Being a guest adds ${input.addedUs.toFixed(1)} µs (spread ${percent(input.spread)})\n`,
  ].join('\n');
}

function reportPackets(packets: PacketsResult): string {
  const rows = Object.entries(packets).map(([batch, one]) => [
    batch,
    thousands(one.native),
    thousands(one.guest),
    thousands(one.trapped),
    one.ratio.toFixed(3),
    `${thousands(one.floor)}: ${one.floorRatio.toFixed(3)}`,
    [one.floorStepsUs.guest, one.floorStepsUs.middle, one.floorStepsUs.driver]
      .map((us) => us.toFixed(2))
      .join(' / '),
    one.extraUs.toFixed(2),
    `${one.p99.native.toFixed(1)} / ${one.p99.guest.toFixed(1)} / ${one.p99.trapped.toFixed(1)}`,
    percent(one.spread),
  ]);
  const head = [
    'packets, batch',
    'native /s',
    'posted /s',
    'trapped /s',
    'ratio',
    'relayed unjudged /s: ratio',
    'of it guest / middle / driver µs',
    'more µs each',
    'p99 of a batch, µs',
    'spread',
  ];
  return renderTable(head, rows);
}

function reportStart(start: StartResult): string {
  const names = [
    'firstFrameSnapshot',
    'firstFrameCold',
    'runTrue',
    'true',
    'vmRunTrue',
    'setupIdle',
  ] as const;
  const rows = names.map((name) => [
    name,
    start[`${name}Ms`].toFixed(0),
    (start.longestMs[name] ?? Number.NaN).toFixed(0),
    percent(start.spread[name] ?? Number.NaN),
  ]);
  return renderTable(['start', 'ms', 'longest', 'spread'], rows);
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
  const {
    ioRatio,
    compileRatio,
    compileOpens,
    compileRatioByOpens,
    scriptRatio,
    openUs,
    nativeOpenUs,
    callRatio,
    callExtraNs,
    p99,
    spread,
  } = untouched;
  return [
    renderTable(head, rows),
    `ordinary I/O: ${ioRatio.toFixed(3)} of native (spread ${percent(spread.io)})`,
    `a compilation: ${compileRatio.toFixed(3)} (${percent(spread.compile)}; ${compileRatioByOpens.toFixed(3)} by its ${compileOpens} opens alone); a script over small files: ${scriptRatio.toFixed(3)} (${percent(spread.script)})`,
    `an open: ${openUs.toFixed(1)} µs more than ${nativeOpenUs.toFixed(1)} (${percent(spread.open)}; p99 ${p99.guestOpenUs.toFixed(1)} and ${p99.nativeOpenUs.toFixed(1)})`,
    `a call that does nothing: ${callRatio.toFixed(2)}, which is ${callExtraNs.toFixed(0)} ns more\n`,
  ].join('\n');
}

function reportScale(scale: ScaleResult): string {
  const rows = Object.entries(scale).map(([guests, one]) => [
    guests,
    thousands(one.opsPerSecond),
    one.medianUs.toFixed(1),
    one.p99Us.toFixed(1),
    one.costToOne.toFixed(2),
    `${thousands(one.floorOpsPerSecond)}: ${one.floorCostToOne.toFixed(2)}`,
    one.idleToAlone.toFixed(2),
    one.memoryMbPerGuest.toFixed(1),
    [one.memoryMb.host, one.memoryMb.guests, one.memoryMb.backends].map((mb) => mb.toFixed(1)).join(' / '),
    one.startMs.toFixed(0),
    percent(one.spread),
  ]);
  const head = [
    'guests',
    'operations /s',
    'median µs',
    'p99 µs',
    'cost to one guest',
    'bare supervisors /s: cost to one',
    'one beside idle ones',
    'MB a guest',
    'host / programs / backends',
    'start ms',
    'spread',
  ];
  const growth = growthOf(scale);
  return [
    renderTable(head, rows),
    `By the number of guests: operations a second by the power ${growth.opsPerSecond.toFixed(2)}, the median by ${growth.medianUs.toFixed(2)}, one guest beside idle ones by ${growth.idle.toFixed(2)}; ${growth.memoryMb.toFixed(1)} MB each\n`,
  ].join('\n');
}

function reportGrowth({ sessions, handles, exponents }: GrowthResult): string {
  const rows = [...Object.entries(sessions), ...Object.entries(handles)].map(([count, one], index) => [
    `${count} ${index < Object.keys(sessions).length ? 'open files' : 'handles'}`,
    one.medianUs.toFixed(2),
    one.p99Us.toFixed(1),
    one.ratioToOne.toFixed(2),
    percent(one.spread),
  ]);
  return [
    renderTable(['one guest with', 'median µs', 'p99 µs', 'to one of them', 'spread'], rows),
    `The median grows by the power ${exponents.sessions.toFixed(3)} of the open files, ${exponents.handles.toFixed(3)} of the handles\n`,
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
  const head = ['a guest alone / beside one that floods', 'median µs', 'p99 µs', 'longest µs', 'p99 ratio'];
  const rows = [
    row('local driver domain, call after call', local.busy),
    row('local driver domain, with rests', local.paced),
    row('driver VM, call after call', vm.busy),
    row('driver VM, with rests', vm.paced),
  ];
  const floods = [local.busy, vm.busy].map(({ floodPerSecond }) => thousands(floodPerSecond)).join(' and ');
  return `${renderTable(head, rows)}\nthe flood's calls a second: ${floods}\n`;
}
