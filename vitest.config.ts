import { defineConfig } from 'vitest/config';

/** A test may boot a driver VM without KVM, which takes seconds on a busy machine. These end what hangs, and tell nothing of how long anything takes. */
const TEST_TIMEOUT_MS = 120_000;
const HOOK_TIMEOUT_MS = 240_000;
const POLL_TIMEOUT_MS = 60_000;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: './test/temporary-files.ts',
    // Guests and virtual machines compete for the same cores, so files run one after the other.
    fileParallelism: false,
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: HOOK_TIMEOUT_MS,
    expect: { poll: { timeout: POLL_TIMEOUT_MS } },
    reporters: ['default', './test/reporter.ts'],
  },
});
