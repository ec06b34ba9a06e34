import { isDeepStrictEqual } from 'node:util';
import type { Manifest } from '../policy/manifest.js';

/** What makes a module what it is: its code, and the manifest that bounds it. */
export interface IdentifiedModule {
  digest: string;
  manifest: Manifest;
}

/** Whether two are one version: the same code under the same manifest. */
export function isSameModule(
  one: IdentifiedModule | undefined,
  other: IdentifiedModule | undefined,
): boolean {
  return one?.digest === other?.digest && isDeepStrictEqual(one?.manifest, other?.manifest);
}

/** The same for two modules exactly when they are one version. */
export function keyOfModule({ digest, manifest }: IdentifiedModule): string {
  return `${digest} ${JSON.stringify(manifest)}`;
}
