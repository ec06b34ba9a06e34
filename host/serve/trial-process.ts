/** A process of its own in which policy modules are metered and tried. What that takes of memory ends with it. */
import { meteredCore } from '../policy/meter.js';
import { runVectors, type TriedPolicy, type VectorFile } from '../policy/vectors.js';

/** What the process gets. */
export interface TrialInput extends TriedPolicy {
  vectors: VectorFile | undefined;
}

/** What it answers: the metered module, or what is wrong. */
export type TrialAnswer = { metered: Uint8Array } | { refusal: string };

async function tryOut({ core, manifest, vectors }: TrialInput): Promise<TrialAnswer> {
  try {
    const metered = await meteredCore(core);
    const refusal = vectors && (await selfTest({ core, manifest }, vectors));
    return refusal === undefined ? { metered } : { refusal };
  } catch (error) {
    return { refusal: (error as Error).message };
  }
}

/** What is wrong with the module by its own test vectors; undefined when nothing is. */
async function selfTest(policy: TriedPolicy, vectors: VectorFile): Promise<string | undefined> {
  const { total, passed, failures } = await runVectors(policy, vectors);
  const [first] = failures;
  if (first === undefined) return undefined;
  const { vector, field, expected, actual } = first;
  const difference = `expected ${field} to be ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
  return `The module fails ${total - passed} of its ${total} test vectors, the first is '${vector}': ${difference}.`;
}

process.on('message', async (input: TrialInput) => process.send?.(await tryOut(input)));
// The host has ended, however it did.
process.on('disconnect', () => process.exit());
