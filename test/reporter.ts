import type { Reporter, TestModule } from 'vitest/node';
import { leftBehind } from './temporary-files.js';

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** Counts test cases by outcome; an error outside a case (a file that does not load, a hook, what is left behind) counts as one failure. */
function count(modules: readonly TestModule[], errorsOutside: number): Totals {
  const totals: Totals = { passed: 0, failed: errorsOutside, skipped: 0 };
  for (const module of modules) {
    totals.failed += module.errors().length;
    for (const suite of module.children.allSuites()) totals.failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') totals.passed += 1;
      else if (state === 'failed') totals.failed += 1;
      else totals.skipped += 1;
    }
  }
  return totals;
}

/** Ends a run with one plain line, so that people and scripts read the same total. */
export default class TotalsReporter implements Reporter {
  private line = '';

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const left = leftBehind();
    const { passed, failed, skipped } = count(modules, unhandledErrors.length + (left.length > 0 ? 1 : 0));
    this.line = `${passed} passed, ${failed} failed, ${skipped} skipped\n`;
    if (left.length > 0) {
      this.line = `Tests have left temporary files: ${left.join(', ')}.\n${this.line}`;
      process.exitCode = 1;
    }
    // The default reporter may still be writing its summary: the total waits until the process ends.
    process.once('exit', () => process.stdout.write(this.line));
  }
}
