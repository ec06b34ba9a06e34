import { ensureKernel, type Progress } from '../driver-vm/kernel.js';
import { ensureHeaders } from '../guest-vm/frontend-module.js';
import type { Totals, Verdicts } from './compliance-totals.js';
import { compileGuestProgram } from './guest-program.js';
import { buildNetmapModule, kernelHeaders } from './netmap-module.js';

/** What the module is where nobody has named another. */
export const STAND_IN =
  'The driver is the stand-in of test/netmap, not netmap’s own module: give that one by --modules FOLDER.';
const LAST_CASE = 'nonsense in a ring';

/** Both ends of a netmap pipe: packets by commands and by every form of poll. */
export const netmapCommand = (): readonly string[] => [compileGuestProgram('packets', 'netmap')];

/**
 * Provides the stand-in, built against the headers of the driver VM's kernel. The folder that has it.
 * @throws Error with apt's or the compiler's words
 */
export async function standInModules(progress: Progress): Promise<string> {
  return buildNetmapModule(
    kernelHeaders() || (await ensureHeaders((await ensureKernel(progress)).release, progress)),
  );
}

/** What each of the program's cases said: they begin with `== NAME`. */
export function netmapVerdicts(output: string): Verdicts {
  const cases = output.split(/^== /m).slice(1);
  return new Map(
    cases.map((text): [string, string] => {
      const [name = '', ...lines] = text.trimEnd().split('\n');
      return [name, lines.join('; ')];
    }),
  );
}

/**
 * How many cases came to their own end.
 * @throws Error with the end of `output` when the last case is missing
 */
export function netmapTotals(output: string): Totals {
  const verdicts = netmapVerdicts(output);
  if (!verdicts.has(LAST_CASE))
    throw new Error(
      `The packets' program did not reach its end. Its output ends with:\n${output.slice(-1000)}`,
    );
  const failed = [...verdicts.values()].filter((said) => /(^|; )ended (by|with) /.test(said)).length;
  return { passed: verdicts.size - failed, failed };
}
