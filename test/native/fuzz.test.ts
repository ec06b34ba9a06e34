import { describe, expect, it } from 'vitest';
import { FUZZ_TARGETS, fuzz, fuzzingObstacle } from './fuzzing.js';
import { build } from './native.js';

/** Enough for a hundred thousand inputs on an idle machine; `npm run fuzz` takes longer. */
const SECONDS_EACH = 2;
/** The seeds alone are dozens; a target that does not get through them is broken. */
const EXECUTIONS_MIN = 100;
/** What the seeds alone reach, less a little: code that the target no longer reaches would show here. */
const EDGES_MIN = { plan: 300, channel: 65, world: 100, fast: 75, vm: 200 } as const;

const obstacle = fuzzingObstacle();
if (obstacle === '') build('fuzz');

describe('fuzzing', () => {
  it.for(FUZZ_TARGETS)(`%s, for ${SECONDS_EACH} seconds`, async (target, { skip }) => {
    if (obstacle !== '') skip(obstacle);
    const { executions, edges } = await fuzz(target, SECONDS_EACH);
    expect(executions).toBeGreaterThan(EXECUTIONS_MIN);
    expect(edges).toBeGreaterThan(EDGES_MIN[target]);
  });
});
