/** What a compliance tool says at its end. */
export interface Totals {
  passed: number;
  failed: number;
}

/** What a compliance tool said of each test: `section: test` to `OK`, `OK (Not Supported)`, `FAIL` and the like. */
export type Verdicts = ReadonlyMap<string, string>;

/** A test whose verdict differs between two runs; `-` where it did not run. */
export interface Difference {
  test: string;
  guest: string;
  direct: string;
}

/** v4l2-compliance's last line: `Total for vivid device /dev/video0: 113, Succeeded: 109, Failed: 4, Warnings: 6`. */
const V4L2_TOTAL = /^(?:Grand )?Total for .*: (\d+), Succeeded: (\d+), Failed: (\d+), Warnings: (\d+)\s*$/gm;
/** `Format ioctls (Input 0):`, alone at a line's start. */
const V4L2_SECTION = /^(\S.*):$/;
/** A test's line; what streaming tests print of their progress stands before it on the same line. */
const V4L2_TEST = /\ttest (.+): ((?:OK|FAIL|Cannot).*)$/;

/**
 * The totals of a v4l2-compliance run.
 * @throws Error with the end of `output` when it has no such line, as when the tool crashed
 */
export function v4l2Totals(output: string): Totals {
  const last = [...output.matchAll(V4L2_TOTAL)].at(-1);
  if (last === undefined)
    throw new Error(`v4l2-compliance did not reach its total. Its output ends with:\n${output.slice(-1000)}`);
  return { passed: Number(last[2]), failed: Number(last[3]) };
}

/** What v4l2-compliance said of each test. */
export function v4l2Verdicts(output: string): Verdicts {
  const verdicts = new Map<string, string>();
  let section = '';
  for (const line of output.split('\n')) {
    section = line.match(V4L2_SECTION)?.[1] ?? section;
    const [, test, verdict] = line.match(V4L2_TEST) ?? [];
    if (test !== undefined && verdict !== undefined) verdicts.set(`${section}: ${test}`, verdict.trim());
  }
  return verdicts;
}

/** The packet pump's line for each of its two sides. */
const PUMP_SIDE = /^(sent|received) (\d+) packets, (\d+) bytes.*$/gm;
const PUMP_SIDES = ['sent', 'received'];

/** The two sides of a packet pump: one that has carried its packets has passed. */
export function pumpTotals(output: string): Totals {
  const passed = pumpVerdicts(output).size;
  return { passed, failed: PUMP_SIDES.length - passed };
}

/** What each side of a packet pump has carried, in its own words. */
export function pumpVerdicts(output: string): Verdicts {
  return new Map([...output.matchAll(PUMP_SIDE)].map(([line, side = '']) => [side, line]));
}

/** The tests that two runs do not say the same of, in the order of their first mention. */
export function differencesOf(guest: Verdicts, direct: Verdicts): Difference[] {
  const tests = new Set([...direct.keys(), ...guest.keys()]);
  return [...tests]
    .map((test) => ({ test, guest: guest.get(test) ?? '-', direct: direct.get(test) ?? '-' }))
    .filter((difference) => difference.guest !== difference.direct);
}

/**
 * Whether the same tests failed in two runs. A test that one of them skipped, or found not supported, is no disagreement: a class
 * may refuse a whole facility on purpose.
 */
export function failTheSame(differences: readonly Difference[]): boolean {
  return differences.every(({ guest, direct }) => guest !== 'FAIL' && direct !== 'FAIL');
}

/**
 * Counts the lines of libdrm's test programs: those that tell of a failure, and the others.
 * @throws Error when there is hardly anything, as when the device was not found
 */
export function drmTotals(output: string): Totals {
  const lines = output.split('\n').filter((line) => line !== '');
  const failed = lines.filter((line) => /\bfailed\b/.test(line)).length;
  if (lines.length <= failed) throw new Error(`modetest has found no device:\n${output.slice(-1000)}`);
  return { passed: lines.length - failed, failed };
}

/** Every line of `output` by its number, for programs whose whole output is compared. */
export function linesAsVerdicts(output: string): Verdicts {
  return new Map(output.split('\n').map((line, index) => [`line ${index + 1}`, line]));
}
