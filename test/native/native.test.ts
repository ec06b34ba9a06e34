import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { build, casesOf, NATIVE_TESTS, programOf, runToEnd, UNITS } from './native.js';

/** Far beyond what a case takes on a busy machine: a case that waits for ever must end some time. */
const CASE_LIMIT_MS = 100_000;

build('unit');

describe('native test programs', () => {
  it('are all run: one for each test_*.cc', () => {
    const files = readdirSync(NATIVE_TESTS).flatMap((name) => /^test_(\w+)\.cc$/.exec(name)?.[1] ?? []);
    expect([...UNITS].sort()).toEqual(files.sort());
  });
});

describe.each(UNITS)('native: %s', (unit) => {
  const program = programOf(unit);
  it.for(casesOf(program))('%s', async (name, { skip }) => {
    const { status, output, errors } = await runToEnd(program, [name], CASE_LIMIT_MS);
    if (status !== 0) throw new Error(`${errors.trim()}\n(${program}, status ${status})`);
    const skipped = /^skipped: (.*)/m.exec(output);
    if (skipped) skip(skipped[1]);
  });
});
