// npm run fuzz -- [--seconds N] [--target TARGET]... [--seed N] [--json]
// Fuzzes native parsers by libFuzzer, or a camera by whole sequences of operations, for N seconds together.
import { Command, InvalidArgumentError, Option } from 'commander';
import { fuzzCamera, type SequencesReport } from '../hostile/sequences.js';
import { FUZZ_TARGETS, type FuzzReport, type FuzzTarget, fuzz, fuzzingObstacle } from './fuzzing.js';
import { build } from './native.js';

/** The target that is no native parser: guests of the camera's policy, in front of vivid in a driver VM. */
const CAMERA = 'camera';
const SECONDS_DEFAULT = 60;

interface Options {
  seconds: number;
  target?: string[];
  seed: number;
  json?: boolean;
}

await new Command('fuzz')
  .description('Fuzzes the native parsers under ASan and UBSan, and a camera by sequences of operations.')
  .option('--seconds <number>', 'for all targets together', positive, SECONDS_DEFAULT)
  .addOption(
    new Option('--target <name...>', 'only these; by default all native parsers').choices([
      ...FUZZ_TARGETS,
      CAMERA,
    ]),
  )
  .option('--seed <number>', `where the sequences of ${CAMERA} begin`, positive, 1)
  .option('--json', 'print JSON')
  .action(run)
  .parseAsync()
  .catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });

async function run({ seconds, target = [...FUZZ_TARGETS], seed, json = false }: Options): Promise<void> {
  const secondsEach = Math.max(1, Math.round(seconds / target.length));
  const native = FUZZ_TARGETS.filter((name) => target.includes(name));
  const parsers = await fuzzAll(native, secondsEach, json);
  const camera = target.includes(CAMERA) ? await fuzzCamera(seed, secondsEach) : undefined;
  if (json) say(JSON.stringify({ parsers, camera }, undefined, 2));
  else if (camera !== undefined) showCamera(camera);
  if (camera !== undefined && camera.failures.length > 0) process.exitCode = 1;
}

async function fuzzAll(
  targets: readonly FuzzTarget[],
  secondsEach: number,
  json: boolean,
): Promise<FuzzReport[]> {
  if (targets.length === 0) return [];
  const obstacle = fuzzingObstacle();
  if (obstacle !== '') throw new Error(`No fuzzing here: ${obstacle}.`);
  build('fuzz');
  const reports: FuzzReport[] = [];
  for (const target of targets) {
    const report = await fuzz(target, secondsEach);
    reports.push(report);
    if (!json)
      say(
        `${target}: ${report.executions} executions in ${secondsEach} s, ${report.edges} edges and ${report.features} features covered, nothing found`,
      );
  }
  return reports;
}

function showCamera({ firstSeed, sequences, operations, failures }: SequencesReport): void {
  say(`camera: ${sequences} sequences from seed ${firstSeed} on, ${operations} operations`);
  for (const failure of failures) say(`  ${failure}`);
}

function positive(text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}

function say(words: string): void {
  process.stdout.write(`${words}\n`);
}
