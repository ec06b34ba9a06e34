import { describe, it } from 'vitest';
import { BUILT, buildForTests, casesOf, runCase } from './sanitized.js';

buildForTests();
const cases = casesOf(BUILT.testAgent);

describe('the backend agent, locked down', () => {
  it.each(cases)('$name', ({ name }) => runCase(BUILT.testAgent, [BUILT.agent, name]));
});

describe('the backend agent with sanitizers', () => {
  const anywhere = cases.filter(({ lockedOnly }) => !lockedOnly);
  it.each(anywhere)('$name', ({ name }) => runCase(BUILT.testAgent, [BUILT.sanitizedAgent, name]));
});
