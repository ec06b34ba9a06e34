import { runVectors } from '../policy/vectors.js';
import { PackageError } from './errors.js';
import { type ExaminedPackage, examinePackage, type OpenedPackage } from './package.js';

/** So many failures of test vectors are told; the rest is a number. */
const FAILURES_TOLD_MAX = 10;

/**
 * Examines a package's module and runs its own test vectors.
 * @returns how many there are
 * @throws PackageError as examinePackage; POSTERN_PKG_VECTORS_FAILED when the module doesn't do what its vectors say
 */
export async function tryPackage(
  opened: OpenedPackage,
): Promise<{ examined: ExaminedPackage; vectors: number }> {
  const examined = await examinePackage(opened);
  const { total, failures } = await runVectors(examined, opened.vectors);
  if (failures.length === 0) return { examined, vectors: total };
  const lines = failures
    .slice(0, FAILURES_TOLD_MAX)
    .map(
      ({ vector, field, expected, actual }) =>
        `${vector}: ${field} is ${told(actual)}, expected ${told(expected)}`,
    );
  throw new PackageError(
    'POSTERN_PKG_VECTORS_FAILED',
    [
      `${new Set(failures.map(({ vector }) => vector)).size} answers of ${opened.manifest.name} are not what its test vectors say:`,
      ...lines,
    ].join('\n  '),
  );
}

function told(value: unknown): string {
  return value === undefined ? 'absent' : JSON.stringify(value);
}
