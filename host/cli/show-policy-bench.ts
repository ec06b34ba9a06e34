import { benchPolicy } from '../audit/bench.js';
import type { TryOptions } from './policy-try.js';
import { resolvePolicy } from './resolve-policy.js';
import { renderTable } from './table.js';

/**
 * Prints what a module's decisions cost, by command, the dearest first.
 * @throws Error when there is no such module, or it has no vectors
 */
export async function showPolicyBench(module: string, { json }: TryOptions): Promise<void> {
  const { policy, vectors } = await resolvePolicy(module);
  if (vectors === undefined) throw new Error(`${module} has no test vectors, so there are no calls to time.`);
  const costs = (await benchPolicy(policy, vectors)).sort((a, b) => b.medianNs - a.medianNs);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ module: policy.manifest.name, digest: policy.digest, costs }, null, 2)}\n`,
    );
    return;
  }
  const rows = costs.map(({ command, inputs, medianNs, p99Ns }) =>
    [command, inputs, medianNs, p99Ns].map(String),
  );
  process.stdout.write(renderTable(['command', 'inputs', 'median ns', 'p99 ns'], rows));
}
