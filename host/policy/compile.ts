import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { ROOT } from '../root.js';
import { PolicyInstance } from './abi.js';
import { coreFaults } from './check-core.js';
import { envelopeCommands, envelopeFaults } from './command-envelope.js';
import { type Manifest, parseManifest } from './manifest.js';
import { meteredModule } from './meter.js';
import { coreModuleOf } from './wasm-sections.js';

/** Where Postern's own classes, the kit and the generated layouts are. */
export const SOURCES = join(ROOT, 'policies');
/** The contract with policies. */
export const CONTRACT = join(ROOT, 'schemas', 'device-class.wit');
export const MANIFEST_ENDING = '.manifest.json';

/** EFAULT (asm-generic/errno-base.h): a module that only describes itself has no guest. */
const EFAULT = 14;
const HASH = 'sha256';

/** The compiler's own types would bring AssemblyScript's globals into this program, so it is imported without them. */
const ASSEMBLYSCRIPT: string = 'assemblyscript/asc';
interface AssemblyScript {
  version: string;
  main(
    options: string[],
    host: {
      readFile(file: string, folder: string): string | null;
      writeFile(file: string, contents: Uint8Array | string): void;
    },
  ): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}

/** A class that has been compiled. */
export interface CompiledPolicy {
  /** With the commands that the module describes in its envelope. */
  manifest: Manifest;
  component: Uint8Array;
  /** Every file that it was made of, by its path below the repository's top, with its SHA-256 (hexadecimal). */
  files: { path: string; sha256: string }[];
}

/**
 * Compiles `NAME.ts` with `NAME.manifest.json` of a folder to a component. To the compiler the folder lies over `policies/`: what it does
 * not have, such as the kit, is taken from there, and a class that was written elsewhere can be moved there unchanged.
 * @throws Error with the compiler's messages, or with what makes the module unfit to be a policy
 */
export async function compilePolicy(name: string, folder: string = SOURCES): Promise<CompiledPolicy> {
  const files = new Map<string, string>();
  const read = (path: string): string | null => readOverlaid(path, folder, files);
  const manifestPath = `policies/${name}${MANIFEST_ENDING}`;
  const text = read(join(ROOT, manifestPath));
  if (text === null) throw new Error(`There is no ${name}${MANIFEST_ENDING} in ${folder}.`);
  const source = parseManifest(text, join(folder, name + MANIFEST_ENDING));
  if (source.name !== name)
    throw new Error(`${name}${MANIFEST_ENDING} is the manifest of '${source.name}', not of '${name}'.`);
  const core = await compile(name, source, read);
  refuseUnfit(name, coreFaults(core, source.envelope.memoryPagesMax));
  const component = await componentOf(core);
  const found = coreModuleOf(component);
  refuseUnfit(name, coreFaults(found, source.envelope.memoryPagesMax));
  const paths = [...files.keys()].sort();
  return {
    manifest: await withCommands(source, found),
    component,
    files: paths.map((path) => ({ path, sha256: files.get(path) as string })),
  };
}

/** A file of the folder, or else of `policies/`; what is read is noted. */
function readOverlaid(path: string, folder: string, files: Map<string, string>): string | null {
  const inRepository = relative(ROOT, path);
  const inFolder = resolve(folder, relative(SOURCES, path));
  const found = [inFolder, path].find((candidate) => existsSync(candidate));
  if (found === undefined) return null;
  const bytes = readFileSync(found);
  files.set(inRepository, createHash(HASH).update(bytes).digest('hex'));
  return bytes.toString('utf8');
}

/** AssemblyScript to a core module, with the manifest's limit as the memory's declared maximum. */
async function compile(
  name: string,
  manifest: Manifest,
  read: (path: string) => string | null,
): Promise<Uint8Array> {
  const asc = ((await import(ASSEMBLYSCRIPT)) as { default: AssemblyScript }).default;
  const outputs = new Map<string, Uint8Array | string>();
  const outFile = `${name}.wasm`;
  const { error, stderr } = await asc.main(
    [
      ...[`policies/${name}.ts`, '--config', 'asconfig.json', '--target', 'release', '--baseDir', ROOT],
      ...['--maximumMemory', String(manifest.envelope.memoryPagesMax), '--outFile', outFile],
    ],
    {
      readFile: (file, base) => read(resolve(base, file)),
      writeFile: (file, contents) => void outputs.set(file, contents),
    },
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

/** The manifest with the commands that the module lets through; where it described more than the rest of the envelope, it is unfit. */
async function withCommands(source: Manifest, core: Uint8Array): Promise<Manifest> {
  const info = new PolicyInstance(await meteredModule(core), source, () => EFAULT).describe();
  if (info.class !== source.class)
    throw new Error(
      `The module ${source.name} is of the class '${info.class}', its manifest of '${source.class}'.`,
    );
  const { ioctlTypes, ...others } = source.envelope;
  const { operations, ...rest } = others;
  const commands = envelopeCommands(info);
  const { $schema: _, ...manifest } = source as Manifest & { $schema?: string };
  const built: Manifest = { ...manifest, envelope: { operations, ioctlTypes, commands, ...rest } };
  refuseUnfit(source.name, envelopeFaults(info, built));
  return built;
}

function refuseUnfit(name: string, faults: readonly string[]): void {
  if (faults.length > 0)
    throw new Error([`policies/${name}.ts is no policy module:`, ...faults].join('\n  '));
}
