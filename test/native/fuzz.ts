// npm run fuzz -- [--seconds N] [--mutants] [TARGET...]
// Fuzzes the native targets for N seconds together, or puts every mutant of the plan checker to its tests.
import { parseArgs } from 'node:util';
import { FUZZ_TARGETS, type FuzzTarget, fuzz, fuzzingObstacle } from './fuzzing.js';
import { runMutants, survivorsOf } from './mutants.js';
import { build } from './native.js';

const SECONDS_DEFAULT = '60';
const USAGE = `usage: npm run fuzz -- [--seconds N] [--mutants] [${FUZZ_TARGETS.join(' | ')}]...`;

try {
  await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      seconds: { type: 'string', default: SECONDS_DEFAULT },
      mutants: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  if (values.mutants) return await tryMutants();
  const seconds = Number(values.seconds);
  const targets = positionals.length > 0 ? positionals : FUZZ_TARGETS;
  if (!targets.every(isTarget) || !(seconds > 0)) throw new Error(USAGE);
  await fuzzAll(targets, Math.max(1, Math.round(seconds / targets.length)));
}

function isTarget(name: string): name is FuzzTarget {
  return FUZZ_TARGETS.some((target) => target === name);
}

async function fuzzAll(targets: readonly FuzzTarget[], secondsEach: number): Promise<void> {
  const obstacle = fuzzingObstacle();
  if (obstacle !== '') throw new Error(`No fuzzing here: ${obstacle}.`);
  build('fuzz');
  for (const target of targets) {
    const { executions, edges, features } = await fuzz(target, secondsEach);
    say(
      `${target}: ${executions} executions in ${secondsEach} s, ${edges} edges and ${features} features covered`,
    );
  }
}

async function tryMutants(): Promise<void> {
  const fates = await runMutants();
  const survivors = survivorsOf(fates);
  const equivalent = fates.filter(({ noticed }) => noticed === '').length - survivors.length;
  say(
    `${fates.length} mutants of the plan checker: ${fates.length - survivors.length - equivalent} killed, ${equivalent} equivalent, ${survivors.length} survived`,
  );
  for (const { name, becomes } of survivors) say(`  ${name} in: ${becomes}`);
  if (survivors.length > 0) process.exitCode = 1;
}

function say(words: string): void {
  process.stdout.write(`${words}\n`);
}
