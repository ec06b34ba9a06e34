import { expect, it } from 'vitest';
import { runMutants, survivorsOf } from './mutants.js';
import { EQUIVALENT } from './mutations.js';

/** All mutants are one program, which takes most of the time; seconds, on an idle machine. */
const TIME_LIMIT_MS = 180_000;
/** Fewer would mean that the operators no longer find what they change. */
const MUTANTS_MIN = 300;
/** The check that the paper's released code had: of unsigned numbers it is always true. */
const VACUOUS = "the paper's vacuous bound";

it(
  "the plan checker's tests notice every fault put into it",
  async () => {
    const fates = await runMutants();
    expect(fates.length).toBeGreaterThan(MUTANTS_MIN);
    expect(survivorsOf(fates).map(({ name, becomes }) => `${name} in: ${becomes}`)).toEqual([]);
    const vacuous = fates.filter(({ mutation: { name } }) => name.includes(VACUOUS));
    expect(vacuous.map(({ noticed }) => noticed !== '')).toEqual([true, true]);
    // An exception that has no mutant any more has to go.
    const unnoticed = fates.filter(({ noticed }) => noticed === '').map(({ mutation }) => mutation.becomes);
    expect([...EQUIVALENT.keys()].filter((line) => !unnoticed.includes(line))).toEqual([]);
  },
  TIME_LIMIT_MS,
);
