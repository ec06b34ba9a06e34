/** What a compliance tool says at its end. */
export interface Totals {
  passed: number;
  failed: number;
}

/** v4l2-compliance's last line: `Total for vivid device /dev/video0: 113, Succeeded: 109, Failed: 4, Warnings: 6`. */
const V4L2_TOTAL = /^(?:Grand )?Total for .*: (\d+), Succeeded: (\d+), Failed: (\d+), Warnings: (\d+)\s*$/gm;

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

/** The tests that v4l2-compliance reports as failed, each as `test NAME`, in their order. */
export function v4l2Failures(output: string): string[] {
  return [...output.matchAll(/^\s*(test .*): FAIL\s*$/gm)].map((match) => match[1] ?? '');
}
