import { PackageError } from './errors.js';
import type { OpenedPackage } from './package.js';
import type { ClassRecord } from './state.js';

/**
 * Whether a package is older than what a host has seen of its class, which is refused unless it was asked for: an old version may have a
 * hole that a newer one closed, and its signature is as good as ever.
 * @param record what the store knows of the class
 * @param builtIn the sequence number of the module that came with Postern
 * @throws PackageError POSTERN_PKG_SEQUENCE_OLD, or POSTERN_PKG_SEQUENCE_REUSED for another package of a number that was seen
 */
export function refuseOld(
  { manifest, contentDigest }: OpenedPackage,
  record: ClassRecord | undefined,
  builtIn: number | undefined,
  isAllowed: boolean,
): boolean {
  const { sequence, version } = manifest;
  const highest = Math.max(record?.sequenceHighest ?? 0, builtIn ?? 0);
  const what = `Version ${version} of ${manifest.name} has the sequence number ${sequence}`;
  if (sequence < highest) {
    if (isAllowed) return true;
    throw new PackageError(
      'POSTERN_PKG_SEQUENCE_OLD',
      `${what}, this host has seen ${highest}: it is an old version. --allow-downgrade takes it all the same, and records that.`,
    );
  }
  const isOther =
    record !== undefined && sequence === record.sequenceHighest && contentDigest !== record.seen;
  if (isOther && !isAllowed)
    throw new PackageError(
      'POSTERN_PKG_SEQUENCE_REUSED',
      `${what}, and so had another package that this host has seen: every release needs a greater one.`,
    );
  return isOther;
}
