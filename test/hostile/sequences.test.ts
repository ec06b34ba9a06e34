import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { fuzzCamera } from './sequences.js';

/** The same ones in every run; `npm run fuzz -- --target camera --seconds N` goes on from there. */
const FIRST_SEED = 1;
const SECONDS = 8;

describe.skipIf(!allOk(examineMachine(), 'required'))('a camera under any sequence of operations', () => {
  it('stays what it is, and so does whoever else uses its driver VM', async () => {
    const { sequences, operations, succeeded, failures } = await fuzzCamera(FIRST_SEED, SECONDS);
    expect(failures).toEqual([]);
    expect(sequences).toBeGreaterThan(0);
    expect(operations).toBeGreaterThan(100);
    // Otherwise the sequences would be refusals only, and show little.
    expect(succeeded).toBeGreaterThan(operations / 20);
  });
});
