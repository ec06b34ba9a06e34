import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../root.js';
import { coreFaults } from './check-core.js';
import { type Manifest, parseManifest } from './manifest.js';
import { coreModuleOf } from './wasm-sections.js';

const SOURCES = join(ROOT, 'policies');
const OUTPUT = join(ROOT, 'dist', 'policies');
const CONTRACT = join(ROOT, 'schemas', 'device-class.wit');
const MANIFEST_ENDING = '.manifest.json';

/** The compiler's own types would bring AssemblyScript's globals into this program, so it is imported without them. */
const ASSEMBLYSCRIPT: string = 'assemblyscript/asc';
interface AssemblyScript {
  main(
    options: string[],
    host: { writeFile(file: string, contents: Uint8Array | string): void },
  ): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}

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
  const manifestPath = join(SOURCES, name + MANIFEST_ENDING);
  const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath);
  const core = await compile(name, manifest);
  refuseUnfit(name, core, manifest);
  const component = await componentOf(core);
  refuseUnfit(name, coreModuleOf(component), manifest);
  writeAtomically(componentPath(name), component);
  copyFileSync(manifestPath, join(OUTPUT, name + MANIFEST_ENDING));
}

/** AssemblyScript to a core module, with the manifest's limit as the memory's declared maximum. */
async function compile(name: string, manifest: Manifest): Promise<Uint8Array> {
  const asc = ((await import(ASSEMBLYSCRIPT)) as { default: AssemblyScript }).default;
  const outputs = new Map<string, Uint8Array | string>();
  const outFile = `${name}.wasm`;
  const { error, stderr } = await asc.main(
    [
      ...[`policies/${name}.ts`, '--config', 'asconfig.json', '--target', 'release', '--baseDir', ROOT],
      ...['--maximumMemory', String(manifest.envelope.memoryPagesMax), '--outFile', outFile],
    ],
    { writeFile: (file, contents) => void outputs.set(file, contents) },
  );
  const core = outputs.get(outFile);
  if (error !== null || !(core instanceof Uint8Array))
    throw new Error(`policies/${name}.ts does not compile:\n${stderr.toString()}`);
  return core;
}

async function componentOf(core: Uint8Array): Promise<Uint8Array> {
  const { componentEmbed, componentNew } = await import('@bytecodealliance/jco');
  const embedded = await componentEmbed({
    binary: core,
    witSource: readFileSync(CONTRACT, 'utf8'),
    world: 'device-class',
    stringEncoding: 'utf8',
  });
  return componentNew(embedded);
}

function refuseUnfit(name: string, core: Uint8Array, manifest: Manifest): void {
  const faults = coreFaults(core, manifest.envelope.memoryPagesMax);
  if (faults.length > 0)
    throw new Error([`policies/${name}.ts is no policy module:`, ...faults].join('\n  '));
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
    .filter((file) => file.endsWith('.ts') || (file.endsWith('.json') && !file.endsWith('.vectors.json')))
    .map((file) => join(SOURCES, file));
  const tools = ['package-lock.json', 'asconfig.json', 'host/policy/build.ts'].map((file) =>
    join(ROOT, file),
  );
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
