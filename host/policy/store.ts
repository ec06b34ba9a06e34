import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';
import { coreFaults } from './check-core.js';
import { type Manifest, matchesNode, parseManifest } from './manifest.js';
import { coreModuleOf } from './wasm-sections.js';

/** Where the build leaves each class's component and the manifest it was built with. */
export const POLICY_FOLDER = join(ROOT, 'dist', 'policies');
const COMPONENT_ENDING = '.component.wasm';

/** A policy module, checked and ready to be metered and compiled. */
export interface PolicyPackage {
  manifest: Manifest;
  /** The core module in the component: what the mediator runs. */
  core: Uint8Array;
  /** The component's absolute path. */
  component: string;
  /** SHA-256 of the component, hexadecimal. */
  digest: string;
}

/** Which module judges a device, and as which kind of node (the contract's call.node). */
export interface PolicyMatch {
  package: PolicyPackage;
  node: number;
}

/**
 * Reads every policy module that has been built, by name.
 * @throws Error with everything that is wrong with the first unfit module
 */
export function loadPolicies(folder: string = POLICY_FOLDER): PolicyPackage[] {
  const names = componentNames(folder);
  if (names.length === 0) throw new Error(`No policy modules in ${folder}: build them with 'npm run build'.`);
  return names.map((name) => loadPolicy(folder, name));
}

/**
 * The module that judges the device named `deviceName` (relative to /dev), or undefined: nobody does. A device that several classes claim
 * is judged by none: whoever may sign one class's packages can't take another's devices.
 */
export function policyForDevice(
  packages: readonly PolicyPackage[],
  deviceName: string,
): PolicyMatch | undefined {
  const claims = claimsOf(packages, deviceName);
  return claims.length === 1 ? claims[0] : undefined;
}

function claimsOf(packages: readonly PolicyPackage[], deviceName: string): PolicyMatch[] {
  return packages.flatMap((candidate) => {
    const node = candidate.manifest.nodes.findIndex((entry) => matchesNode(entry, deviceName));
    return node === -1 ? [] : [{ package: candidate, node }];
  });
}

/** Why no guest gets the device named `deviceName`, where its class refuses it on purpose, or several classes claim it. */
export function refusalOf(packages: readonly PolicyPackage[], deviceName: string): string | undefined {
  const claims = claimsOf(packages, deviceName).map((claim) => claim.package.manifest.class);
  if (claims.length > 1) return `several classes claim it (${claims.join(', ')}), so none of them judges it`;
  const refused = packages.flatMap(({ manifest }) => manifest.refuses ?? []);
  return refused.find((entry) => matchesNode(entry, deviceName))?.reason;
}

function componentNames(folder: string): string[] {
  try {
    const files = readdirSync(folder).filter((file) => file.endsWith(COMPONENT_ENDING));
    return files.map((file) => file.slice(0, -COMPONENT_ENDING.length)).sort();
  } catch {
    return [];
  }
}

function loadPolicy(folder: string, name: string): PolicyPackage {
  const manifestPath = join(folder, `${name}.manifest.json`);
  const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath);
  if (manifest.name !== name)
    throw new Error(`${manifestPath} is the manifest of '${manifest.name}', not of '${name}'.`);
  const component = join(folder, name + COMPONENT_ENDING);
  const bytes = readFileSync(component);
  const core = coreModuleOf(bytes);
  const faults = coreFaults(core, manifest.envelope.memoryPagesMax);
  if (faults.length > 0) throw new Error([`${component} is no policy module:`, ...faults].join('\n  '));
  return { manifest, core, component, digest: createHash('sha256').update(bytes).digest('hex') };
}
