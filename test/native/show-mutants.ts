// npm run mutants -- [--json]
// Puts every mutant of the plan checker to the checker's unit tests.
import { parseArgs } from 'node:util';
import { type Fate, runMutants } from './mutants.js';
import { EQUIVALENT } from './mutations.js';

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
const fates = await runMutants();
const killed = fates.filter(({ noticed }) => noticed !== '');
const equivalent = fates.filter((fate) => fate.noticed === '' && EQUIVALENT.has(fate.mutation.becomes));
const survived = fates.filter((fate) => fate.noticed === '' && !EQUIVALENT.has(fate.mutation.becomes));
if (values.json) showJson();
else showWords();
if (survived.length > 0) process.exitCode = 1;

function showWords(): void {
  say(
    `${fates.length} mutants of the plan checker: ${killed.length} killed, ${equivalent.length} equivalent, ${survived.length} survived`,
  );
  for (const fate of equivalent)
    say(`  equivalent: ${inWords(fate)}: ${EQUIVALENT.get(fate.mutation.becomes)}`);
  for (const fate of survived) say(`  survived: ${inWords(fate)}`);
}

function showJson(): void {
  const named = (some: readonly Fate[]): string[] => some.map(({ mutation: { name } }) => name);
  const report = {
    mutants: fates.length,
    killed: named(killed),
    equivalent: named(equivalent),
    survived: named(survived),
  };
  say(JSON.stringify(report, undefined, 2));
}

function inWords({ mutation: { name, becomes } }: Fate): string {
  return `${name} in: ${becomes}`;
}

function say(words: string): void {
  process.stdout.write(`${words}\n`);
}
