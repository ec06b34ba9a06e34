import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../root.js';
import { CONTRACT, compilePolicy, MANIFEST_ENDING, SOURCES } from './compile.js';

const OUTPUT = join(ROOT, 'dist', 'policies');
/** What makes a component and its manifest of the sources. */
const TOOLS = [
  ...['package-lock.json', 'asconfig.json', 'schemas/manifest.schema.json'],
  ...['build.ts', 'compile.ts', 'command-envelope.ts', 'lift.ts'].map((file) => `host/policy/${file}`),
];

/** Told a line for every step that does anything. */
export type Log = (line: string) => void;

/**
 * Builds the component of every class (`policies/NAME.ts` with `policies/NAME.manifest.json`) whose inputs have changed.
 * @returns the names of the classes that were built
 * @throws Error with the compiler's messages, or with what makes a module unfit to be a policy
 */
export async function buildPolicies(log: Log): Promise<string[]> {
  const inputs = inputsDigest();
  const stale = classNames().filter(
    (name) => readText(digestPath(name)) !== inputs || !existsSync(componentPath(name)),
  );
  mkdirSync(OUTPUT, { recursive: true });
  for (const name of stale) {
    log(`Building the policy module ${name}`);
    await buildPolicy(name);
    writeFileSync(digestPath(name), inputs);
  }
  return stale;
}

async function buildPolicy(name: string): Promise<void> {
  const { manifest, component } = await compilePolicy(name);
  writeAtomically(componentPath(name), component);
  writeAtomically(
    join(OUTPUT, name + MANIFEST_ENDING),
    Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`),
  );
}

/** The classes that have both a source and a manifest. */
function classNames(): string[] {
  return readdirSync(SOURCES)
    .filter((file) => file.endsWith(MANIFEST_ENDING))
    .map((file) => file.slice(0, -MANIFEST_ENDING.length))
    .filter((name) => existsSync(join(SOURCES, `${name}.ts`)))
    .sort();
}

/** All that decides what a component looks like; the classes share most of it. */
function inputsDigest(): string {
  const digest = createHash('sha256');
  for (const path of inputPaths())
    digest
      .update(`${path.slice(ROOT.length)}\0`)
      .update(readFileSync(path))
      .update('\0');
  return digest.digest('hex');
}

function inputPaths(): string[] {
  const sources = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') || file.endsWith(MANIFEST_ENDING))
    .map((file) => join(SOURCES, file));
  const tools = TOOLS.map((file) => join(ROOT, file));
  return [...sources.sort(), ...tools, CONTRACT];
}

function componentPath(name: string): string {
  return join(OUTPUT, `${name}.component.wasm`);
}

function digestPath(name: string): string {
  return join(OUTPUT, `${name}.inputs`);
}

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** A build that dies half-way leaves the last component in place. */
function writeAtomically(path: string, bytes: Uint8Array): void {
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await buildPolicies((line) => console.log(line)).catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
