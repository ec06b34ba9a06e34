import type { Machine } from './machine.js';
import type { PacketFigures } from './packets.js';
import type { Figures } from './record.js';
import { growthOf } from './scale.js';
import type { Results } from './suite.js';

const BEGIN = '<!-- figures: written by `npm run bench -- --record` -->';
const END = '<!-- end of figures -->';
const FOLDER = 'test/bench/__generated__';

/** A row of the table: what was measured, Postern's figure, and what it is measured against. */
type Row = readonly [what: string, postern: string, baseline: string];

/**
 * The README with these figures between its two marks.
 * @throws Error when the marks are not there, or not in order
 */
export function withFigures(readme: string, figures: Figures): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new Error(`The README has no place for figures: it needs the lines '${BEGIN}' and '${END}'.`);
  return `${readme.slice(0, begin + BEGIN.length)}\n${chapter(figures)}\n${readme.slice(end)}`;
}

function chapter(figures: Figures): string {
  const rows = tableRows(figures).map((row) => `| ${row.join(' | ')} |`);
  return [
    `${describeMachine(figures.machine)}. Taken ${daysOf(figures)}. Medians, each beside its baseline of the same run, the two in turn;`,
    `99th percentiles and spreads are in \`${FOLDER}/figures.json\`.`,
    '',
    '| | Postern | baseline |',
    '| --- | --- | --- |',
    ...rows,
    '',
    ...chartLines(figures),
  ].join('\n');
}

const describeMachine = ({
  processor,
  processors,
  memoryGb,
  kernel,
  node,
  governor,
  accelerator,
}: Machine): string =>
  `${processor}, ${processors} processors, ${memoryGb} GB, Linux ${kernel}, Node ${node}, ${accelerator === 'tcg' ? 'VMs emulated (TCG)' : 'VMs by KVM'}, clock governor: ${governor}`;

function daysOf({ measured }: Figures): string {
  const moments = Object.values(measured);
  const days = moments.map(({ date }) => date.slice(0, 10)).sort();
  const [first, last] = [days[0], days.at(-1)];
  const load = Math.max(...moments.map((moment) => moment.load));
  return `${first === last ? `on ${first}` : `from ${first} to ${last}`}, at a load of at most ${load.toFixed(1)}`;
}

const CHARTS: readonly (readonly [name: keyof Results, file: string, alt: string])[] = [
  ['noop', 'noop.svg', 'What one ioctl costs, by the way it goes'],
  ['decision', 'decision.svg', 'What one decision costs, beside other engines'],
  ['packets', 'packets.svg', 'Packets a second through TUN'],
  ['stream', 'stream.svg', 'Processor time for a camera frame'],
  ['input', 'input.svg', 'From a write on uinput to the read of the event'],
  ['start', 'start.svg', 'How long starts take'],
  ['untouched', 'untouched.svg', 'What a guest pays that touches no guarded device'],
  ['scale', 'scale.svg', 'Operations a second by the number of guests'],
  ['scale', 'memory.svg', 'Memory of a guest'],
  ['growth', 'growth.svg', 'What an operation costs by how much the guest has'],
  ['reload', 'reload.svg', 'What guests notice while modules are exchanged'],
  ['fairness', 'fairness.svg', 'What a guest notices of one that floods'],
];

const chartLines = (figures: Figures): string[] =>
  CHARTS.filter(([name]) => figures[name] !== undefined).map(
    ([, file, alt]) => `![${alt}](${FOLDER}/${file})`,
  );

function tableRows(figures: Figures): Row[] {
  return [
    ...rowsOf(figures.noop, noopRows),
    ...rowsOf(figures.decision, decisionRows),
    ...rowsOf(figures.stream, streamRows),
    ...rowsOf(figures.audio, audioRows),
    ...rowsOf(figures.input, inputRows),
    ...rowsOf(figures.packets, packetRows),
    ...rowsOf(figures.start, startRows),
    ...rowsOf(figures.untouched, untouchedRows),
    ...rowsOf(figures.scale, scaleRows),
    ...rowsOf(figures.growth, growthRows),
    ...rowsOf(figures.reload, reloadRows),
    ...rowsOf(figures.fairness, fairnessRows),
  ];
}

const rowsOf = <T>(result: T | undefined, rows: (result: T) => Row[]): Row[] =>
  result === undefined ? [] : rows(result);

const us = (value: number): string => `${value.toFixed(1)} µs`;
const times = (value: number): string => `${value.toFixed(2)} times`;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const millions = (value: number): string => `${(value / 1e6).toFixed(2)} million`;

function noopRows(noop: NonNullable<Figures['noop']>): Row[] {
  const { ratios } = noop;
  return [
    [
      'one ioctl, trapped, local driver domain',
      `${us(noop.transparent)} (44 bytes out: ${us(noop.transparentCopy)}): ${times(ratios.transparent)}`,
      `${us(noop.floor)} (104 bytes out: ${us(noop.floorCopy)}): a bare user-notification supervisor that answers at once; natively ${us(noop.native)}`,
    ],
    [
      'the same with `--fast`',
      `${us(noop.fastLocal)}: adds ${ratios.fastLocal.toFixed(2)} of what being trapped adds; ${us(noop.fastVerdict)} for one that the policy refuses`,
      `trapped: ${us(noop.transparent)}, refused ${us(noop.verdict)}`,
    ],
    [
      'VIDIOC_QUERYCAP, driver in the VM',
      `${us(noop.vm)} (\`--fast\`: ${us(noop.fastVm)}); from a guest VM ${us(noop.guestVm)}, nearly all of it the emulated interrupt`,
      `${us(noop.floorCopy)}: the same supervisor`,
    ],
  ];
}

function decisionRows(decision: NonNullable<Figures['decision']>): Row[] {
  const ns = (value: number): string => `${(value / 1000).toFixed(3)} µs`;
  return [
    [
      'one decision of a policy',
      `${ns(decision.typicalNs)}; ${ns(decision.nestedNs)} with a nested array`,
      `Cedar’s Wasm ${us(decision.cedarNs / 1000)}, CASL in JavaScript ${ns(decision.caslNs)}, C by hand ${ns(decision.nativeNs)}`,
    ],
  ];
}

function streamRows(stream: NonNullable<Figures['stream']>): Row[] {
  return Object.entries(stream).map(([size, one]) => [
    `camera stream ${size}`,
    `${one.guestFps.toFixed(2)} frames a second: ${one.ratio.toFixed(3)}; ${one.guestLost} lost; ${(one.guestCpuUs / 1000).toFixed(1)} ms of processor a frame, QEMU’s included`,
    `${one.directFps.toFixed(2)} beside the driver in the VM; ${one.directLost} lost; ${(one.directCpuUs / 1000).toFixed(1)} ms`,
  ]);
}

function audioRows(audio: NonNullable<Figures['audio']>): Row[] {
  return [
    [
      'playing and recording, buffers of 93 ms',
      `${audio.guestUnderruns} underruns, ${audio.guestOverruns} overruns; ${audio.guestCpuMs.toFixed(0)} ms of processor a second`,
      `beside the driver: ${audio.directUnderruns}, ${audio.directOverruns}; ${audio.directCpuMs.toFixed(0)} ms`,
    ],
  ];
}

function inputRows(input: NonNullable<Figures['input']>): Row[] {
  return [
    [
      'input, from one guest’s write on uinput to another’s read',
      us(input.guestUs),
      `${us(input.directUs)}: both beside the driver, in the emulated VM`,
    ],
  ];
}

const stepsOf = ({ floorStepsUs: { guest, middle, driver } }: PacketFigures): string =>
  `at work for a packet: guest ${guest.toFixed(2)} µs, between ${middle.toFixed(2)}, driver ${driver.toFixed(2)}`;

function packetRows(packets: NonNullable<Figures['packets']>): Row[] {
  return Object.entries(packets).map(([batch, one]) => [
    `packets of 1 KiB through TUN, ${batch} at a time, \`--fast\``,
    `${millions(one.guest)} a second (trapped: ${millions(one.trapped)}): ${one.ratio.toFixed(2)}`,
    `${millions(one.native)}, natively; ${millions(one.floor)} by processes that pass them on as often and judge nothing: ${one.floorRatio.toFixed(2)} (${stepsOf(one)}; with a processor each ${one.floorRatioByThreeCores.toFixed(2)} by these)`,
  ]);
}

function startRows(start: NonNullable<Figures['start']>): Row[] {
  return [
    [
      'from nothing to the first camera frame',
      `${seconds(start.firstFrameSnapshotMs)} from the snapshot, ${seconds(start.firstFrameColdMs)} cold`,
      '',
    ],
    [
      '`postern run true`',
      `${start.runTrueMs.toFixed(0)} ms (\`postern vm run true\`: ${seconds(start.vmRunTrueMs)})`,
      `\`true\`: ${start.trueMs.toFixed(0)} ms`,
    ],
    ['set-up with nothing to do', `${start.setupIdleMs.toFixed(0)} ms`, ''],
  ];
}

function untouchedRows(untouched: NonNullable<Figures['untouched']>): Row[] {
  const blocks = Object.entries(untouched.blocks).map(
    ([bytes, one]): Row => [
      `reads and writes of ${Number(bytes) / 1024} KiB, pipe and file`,
      `${one.pipeRatio.toFixed(3)} and ${one.fileRatio.toFixed(3)} of the time: ${one.extraNsPerCall.toFixed(0)} ns a call`,
      `natively ${(one.pipeNs / 1000).toFixed(2)} µs a call (pipe)`,
    ],
  );
  return [
    ...blocks,
    [
      'a compilation; a script over hundreds of small files',
      `${untouched.compileRatio.toFixed(2)} and ${untouched.scriptRatio.toFixed(2)} of the time`,
      `natively. By its ${untouched.compileOpens} opens alone a compilation would take ${untouched.compileRatioByOpens.toFixed(2)}`,
    ],
    [
      'an open of an ordinary file; a call that does nothing',
      `${us(untouched.openUs)} more: each is looked at, natively; ${untouched.callExtraNs.toFixed(0)} ns more, as with any filter`,
      us(untouched.nativeOpenUs),
    ],
  ];
}

function scaleRows(scale: NonNullable<Figures['scale']>): Row[] {
  const counts = Object.keys(scale).filter((count) => count !== '1');
  const most = scale[counts.at(-1) ?? ''];
  if (most === undefined) return [];
  const growth = growthOf(scale);
  const thousandsOf = (count: string): string =>
    `${count}: ${Math.round((scale[count]?.opsPerSecond ?? Number.NaN) / 1000)}`;
  return [
    [
      'a guest beyond the first, idle',
      `${most.memoryMbPerGuest.toFixed(1)} MB: ${most.memoryMb.host.toFixed(1)} of the host, ${most.memoryMb.guests.toFixed(1)} launcher and program, ${most.memoryMb.backends.toFixed(1)} backend`,
      `measured with ${counts.at(-1)}; the nearest line says ${growth.memoryMb.toFixed(1)} MB each`,
    ],
    [
      'guests at work at once, thousands of operations a second of all together',
      counts.map(thousandsOf).join('; '),
      `${thousandsOf('1')}. With ${counts.at(-1)} an operation costs ${times(most.costToOne)} what it costs with one, for the same load in all; of bare supervisors that have other processes drive ${times(most.floorCostToOne)} (${Math.round(most.floorOpsPerSecond / 1000)} thousand). One guest beside idle ones: ${times(most.idleToAlone)}`,
    ],
  ];
}

function growthRows({ sessions, handles, exponents }: NonNullable<Figures['growth']>): Row[] {
  const row = (what: string, of: typeof sessions, exponent: number): Row => {
    const [[, one], [most, many]] = [Object.entries(of)[0], Object.entries(of).at(-1)] as [
      [string, { medianUs: number }],
      [string, { medianUs: number }],
    ];
    return [
      `an operation of a guest with ${most} ${what}`,
      `${us(many.medianUs)} (grows by the power ${exponent.toFixed(2)})`,
      `${us(one.medianUs)} with one`,
    ];
  };
  return [
    row('open files', sessions, exponents.sessions),
    row('handles, driver in the VM', handles, exponents.handles),
  ];
}

function reloadRows(reload: NonNullable<Figures['reload']>): Row[] {
  return [
    [
      `${reload.swaps} modules exchanged under ${reload.guests} guests at work`,
      `${reload.failed} of ${reload.operations.toLocaleString('en')} operations failed; the longest took ${reload.longestGapRatio.toFixed(1)} times the usual 99.9th percentile; ${reload.rssSlopeMb.toFixed(2)} MB more a hundred reloads`,
      `${reload.quietGapRatio.toFixed(1)} times, while nothing was exchanged`,
    ],
  ];
}

function fairnessRows({ local, vm }: NonNullable<Figures['fairness']>): Row[] {
  const row = (where: string, { busy, paced }: typeof local): Row => [
    `a guest beside one that floods the same driver, ${where}`,
    `99th percentile ${us(busy.p99Us.flooded)}, ${times(busy.p99Ratio)}; with rests ${us(paced.p99Us.flooded)}, ${times(paced.p99Ratio)}`,
    `alone: ${us(busy.p99Us.alone)} and ${us(paced.p99Us.alone)}`,
  ];
  return [row('local driver domain', local), row('driver VM', vm)];
}
