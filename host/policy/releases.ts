import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';
import { CONTRACT, MANIFEST_ENDING, SOURCES } from './compile.js';
import type { Manifest } from './manifest.js';
import { loadPolicies, type PolicyPackage } from './store.js';

/** What has been given out: the contract and every class's module, each with the numbers that it had. Only ever added to. */
export const RELEASES = join(SOURCES, '__generated__', 'releases.json');
const HASH = 'sha256';

/** A version of something, and what it was. */
export interface Release {
  version: string;
  /** Of modules. */
  sequence?: number;
  /** Of the contract without its comments; of a module's component and of its manifest without its numbers. */
  sha256: string;
}

/** By name, the oldest first. */
export interface Releases {
  contract: Release[];
  modules: Record<string, Release[]>;
}

/** What is in the repository, as it has been built. */
export interface Current {
  contract: Release;
  modules: Record<string, Release>;
}

/** The contract and the modules as they are now. */
export function currentReleases(): Current {
  const text = readFileSync(CONTRACT, 'utf8');
  const modules = loadPolicies().map((policy): [string, Release] => [
    policy.manifest.name,
    releaseOf(policy),
  ]);
  return {
    contract: { version: /^package [a-z:-]+@([\d.]+);/m.exec(text)?.[1] ?? '', sha256: contractDigest(text) },
    modules: Object.fromEntries(modules),
  };
}

/** What was recorded. */
export function recordedReleases(): Releases {
  return JSON.parse(readFileSync(RELEASES, 'utf8')) as Releases;
}

/** SHA-256 of a contract; what only people read, comments and the space between words, does not count. */
export function contractDigest(text: string): string {
  const words = text.replace(/\/\/.*$/gm, '').match(/\S+/g) ?? [];
  return createHash(HASH).update(words.join(' ')).digest('hex');
}

function releaseOf({ manifest, digest }: PolicyPackage): Release {
  const { version, sequence, ...rest } = manifest;
  return {
    version,
    sequence,
    sha256: createHash(HASH).update(digest).update(JSON.stringify(rest)).digest('hex'),
  };
}

/**
 * What is wrong with the numbers: something has changed and has the number of what it was before, or a number was raised and not recorded.
 * @returns one line a fault, with what to do
 */
export function releaseFaults(recorded: Releases, { contract, modules }: Current): string[] {
  const faults = unrecorded('schemas/device-class.wit', recorded.contract.at(-1), contract);
  for (const [name, module] of Object.entries(modules))
    faults.push(...unrecorded(`policies/${name}${MANIFEST_ENDING}`, recorded.modules[name]?.at(-1), module));
  for (const [name, releases] of [
    ['the contract', recorded.contract] as const,
    ...Object.entries(recorded.modules),
  ])
    faults.push(...disorder(name, releases));
  return faults;
}

function unrecorded(file: string, last: Release | undefined, now: Release): string[] {
  if (last === undefined) return [`${file} is not in ${relativeRecord()}: \`npm run raise\` records it.`];
  const isSame = last.sha256 === now.sha256;
  const isRaised = isNewer(last, now);
  if (isSame && last.version === now.version && last.sequence === now.sequence) return [];
  if (!isRaised)
    return [
      isSame
        ? `${file} has lower numbers than were given out (${numbersOf(last)}).`
        : `${file} has changed, and still has the numbers ${numbersOf(now)}: \`npm run raise\` raises those of modules; the contract's is raised by hand.`,
    ];
  return [`${file} has the new numbers ${numbersOf(now)}: \`npm run raise\` records them.`];
}

/** Each release has greater numbers than the one before, and is another thing. */
function disorder(name: string, releases: readonly Release[]): string[] {
  return releases.flatMap((release, index) => {
    const before = releases[index - 1];
    if (before === undefined || (isNewer(before, release) && before.sha256 !== release.sha256)) return [];
    return [`${relativeRecord()}: of ${name}, ${numbersOf(release)} does not follow ${numbersOf(before)}.`];
  });
}

/** Whether all the numbers are greater. */
export function isNewer(before: Release, after: Release): boolean {
  return compareVersions(after.version, before.version) > 0 && (after.sequence ?? 1) > (before.sequence ?? 0);
}

function compareVersions(one: string, other: string): number {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number));
  for (let place = 0; place < 3; place++) {
    const difference = (a?.[place] ?? 0) - (b?.[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf({ version, sequence }: Release): string {
  return sequence === undefined ? version : `${version} (sequence ${sequence})`;
}

function relativeRecord(): string {
  return RELEASES.slice(ROOT.length + 1);
}

/** The record with what is new in it. @throws Error when something has changed without new numbers */
export function recorded(before: Releases, { contract, modules }: Current): Releases {
  const after: Releases = {
    contract: followed('schemas/device-class.wit', before.contract, contract),
    modules: { ...before.modules },
  };
  for (const [name, module] of Object.entries(modules))
    after.modules[name] = followed(`policies/${name}${MANIFEST_ENDING}`, before.modules[name] ?? [], module);
  return after;
}

function followed(file: string, releases: Release[], now: Release): Release[] {
  const last = releases.at(-1);
  if (last?.sha256 === now.sha256) return releases;
  if (last === undefined || isNewer(last, now)) return [...releases, now];
  throw new Error(
    `${file} has changed since ${numbersOf(last)}: raise its version, and what names it, by hand.`,
  );
}

/**
 * Raises the numbers of every module that has changed: its sequence number by one, its version by a patch, in its manifest's source.
 * @returns the names of the modules whose manifests were written
 */
export function raiseChanged(before: Releases, { modules }: Current): string[] {
  const changed = Object.entries(modules).filter(([name, module]) => {
    const last = before.modules[name]?.at(-1);
    return last !== undefined && last.sha256 !== module.sha256 && !isNewer(last, module);
  });
  for (const [name] of changed)
    raise(join(SOURCES, name + MANIFEST_ENDING), before.modules[name]?.at(-1) as Release);
  return changed.map(([name]) => name);
}

function raise(path: string, last: Release): void {
  const text = readFileSync(path, 'utf8');
  const { version, sequence } = JSON.parse(text) as Manifest;
  const [major = 0, minor = 0, patch = 0] = last.version.split('.').map(Number);
  const raised = text
    .replace(`"version": "${version}"`, `"version": "${major}.${minor}.${patch + 1}"`)
    .replace(`"sequence": ${sequence}`, `"sequence": ${(last.sequence ?? 0) + 1}`);
  writeFileSync(path, raised);
}

/** Writes the record. */
export function writeReleases(releases: Releases): void {
  writeFileSync(RELEASES, `${JSON.stringify(releases, null, 2)}\n`);
}
