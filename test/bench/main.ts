/** `npm run bench [-- NAME] [--json] [--quick]`: figures as ratios to a baseline of the same run. */
import { cpus, release } from 'node:os';
import { Argument, Command } from 'commander';
import { renderTable } from '../../host/cli/table.js';
import { withProgress } from '../../host/setup/progress.js';
import { benchNoop, type NoopResult } from './noop.js';
import { benchReload, type ReloadResult } from './reload.js';
import { benchStream, type StreamResult } from './stream.js';
import { benchUntouched, type UntouchedResult } from './untouched.js';

interface Results {
  machine: { processor: string; processors: number; kernel: string; node: string };
  noop?: NoopResult;
  stream?: StreamResult;
  reload?: ReloadResult;
  untouched?: UntouchedResult;
}

const BENCHMARKS = ['noop', 'stream', 'untouched', 'reload'] as const;
type Name = (typeof BENCHMARKS)[number];

const program = new Command('npm run bench --')
  .description('Measure Postern against what a program has without it, in the same run.')
  .addArgument(new Argument('[name]', 'one benchmark; all of them by default').choices(BENCHMARKS))
  .option('--json', 'print one JSON object')
  .option('--quick', 'fewer and shorter runs: under a minute')
  .action(async (name: Name | undefined, options: { json?: boolean; quick?: boolean }) => {
    const results = await measure(name === undefined ? BENCHMARKS : [name], options.quick ?? false);
    process.stdout.write(options.json ? `${JSON.stringify(results)}\n` : renderText(results));
  });

async function measure(names: readonly Name[], quick: boolean): Promise<Results> {
  const results: Results = { machine: describeMachine() };
  if (names.includes('noop')) results.noop = await withProgress('noop', () => benchNoop(quick));
  if (names.includes('stream')) results.stream = await withProgress('stream', () => benchStream(quick));
  if (names.includes('untouched'))
    results.untouched = await withProgress('untouched', () => benchUntouched(quick));
  if (names.includes('reload')) results.reload = await withProgress('reload', () => benchReload(quick));
  return results;
}

function describeMachine(): Results['machine'] {
  const all = cpus();
  return { processor: all[0]?.model ?? '', processors: all.length, kernel: release(), node: process.version };
}

function renderText({ machine, noop, stream, untouched, reload }: Results): string {
  const parts = [
    `${machine.processor}, ${machine.processors} processors, Linux ${machine.kernel}, Node ${machine.node}`,
  ];
  if (noop !== undefined) {
    const ways = ['native', 'floor', 'floorCopy', 'transparent', 'transparentCopy', 'vm'] as const;
    const ratios: Partial<Record<(typeof ways)[number], number>> = noop.ratios;
    const rows = ways.map((way) => [
      way,
      noop[way].toFixed(1),
      noop.p99[way].toFixed(1),
      ratios[way]?.toFixed(2) ?? '',
    ]);
    parts.push(renderTable(['one ioctl', 'median µs', 'p99 µs', 'to its floor'], rows));
  }
  if (stream !== undefined) {
    const rows = Object.entries(stream).map(([size, one]) => [
      size,
      one.guestFps.toFixed(3),
      one.directFps.toFixed(3),
      one.ratio.toFixed(4),
      `${one.guestLost} / ${one.directLost}`,
      percent(one.spread),
    ]);
    const head = ['stream', 'guest fps', 'beside the driver', 'ratio', 'frames lost', 'spread'];
    parts.push(renderTable(head, rows));
  }
  if (untouched !== undefined) {
    const rows = Object.entries(untouched.blocks).map(([bytes, one]) => [
      `${bytes} bytes`,
      one.pipeRatio.toFixed(3),
      one.fileRatio.toFixed(3),
      one.pipeNs.toFixed(0),
      one.extraNsPerCall.toFixed(0),
    ]);
    const head = ['untouched', 'pipe ratio', 'file ratio', 'native ns per call', 'more ns per call'];
    parts.push(
      renderTable(head, rows),
      `ordinary I/O: ${untouched.ioRatio.toFixed(3)} of native (spread ${percent(untouched.spread)})\n`,
    );
  }
  if (reload !== undefined) parts.push(renderReload(reload));
  return parts.join('\n');
}

function renderReload(reload: ReloadResult): string {
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

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
