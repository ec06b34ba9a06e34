import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { cachedFile, makeCacheFolder } from '../cache.js';
import { ROOT } from '../root.js';
import { type ArchiveEntry, archiveOf } from './cpio.js';
import type { Kernel } from './kernel.js';
import { type FindOwnModule, ownModules } from './own-modules.js';
import { runTool } from './tools.js';

const INITRAMFS_FOLDER = 'initramfs';
/** The statically linked backend agent: /init of the driver VM. */
export const AGENT_FILE = join(ROOT, 'native', 'agent', 'build', 'postern-agent');
/** How many initramfs files stay: one for each set of drivers in use lately. */
const KEPT_FILES = 4;

/** What every driver VM needs: its serial ports and the word of its kernel's panic. */
const BASE_MODULES = ['virtio_pci', 'virtio_console', 'pvpanic-pci'];
/** What sharing this machine's root needs. */
const SHARED_ROOT_MODULES = ['9pnet_virtio', '9p'];
/** What laying a file system of the VM's own over it needs. */
const OVERLAY_MODULES = ['overlay'];

export interface InitramfsOptions {
  /** Modules to load, each optionally with parameters: 'vivid' or 'vivid n_devs=2'. */
  drivers: readonly string[];
  /** The agent mounts this machine's root, for programs that run beside the driver. */
  sharedRoot: boolean;
  /** What programs write over that root stays in the VM's memory. */
  overlay?: boolean;
  /** A folder of modules that are used in place of the kernel's own. */
  modules?: string | undefined;
}

export interface Initramfs {
  path: string;
  /** SHA-256 of the file, in hex. */
  digest: string;
}

interface Module {
  file: string;
  parameters: string;
}

/**
 * Provides the initramfs for a set of drivers. When there is one already, it costs reading its parts.
 * @throws Error when a driver is not in the kernel, or the agent is not built
 */
export async function ensureInitramfs(kernel: Kernel, options: InitramfsOptions): Promise<Initramfs> {
  const archive = archiveOf(await contentsOf(kernel, options));
  const digest = createHash('sha256').update(archive).digest('hex');
  const path = cachedFile(INITRAMFS_FOLDER, `${digest.slice(0, 32)}.cpio`);
  if (!existsSync(path)) await write(path, archive);
  return { path, digest };
}

async function write(path: string, archive: Buffer): Promise<void> {
  makeCacheFolder(dirname(path));
  const unfinished = `${path}.${process.pid}`;
  await writeFile(unfinished, archive, { mode: 0o644 });
  await rename(unfinished, path);
  await dropOldFiles(dirname(path));
}

async function dropOldFiles(folder: string): Promise<void> {
  const paths = (await readdir(folder)).map((name) => join(folder, name));
  const dated = await Promise.all(paths.map(async (path) => ({ path, age: (await stat(path)).mtimeMs })));
  dated.sort((a, b) => b.age - a.age);
  for (const { path } of dated.slice(KEPT_FILES)) await rm(path, { force: true });
}

async function contentsOf(kernel: Kernel, options: InitramfsOptions): Promise<ArchiveEntry[]> {
  const modules = await modulesFor(kernel, options);
  const folders = ['dev', 'proc', 'sys', 'root', 'etc', 'etc/postern', 'modules'];
  return [
    ...folders.map((path) => ({ path, mode: 0o755 })),
    { path: 'init', mode: 0o755, content: await readAgent() },
    { path: 'etc/postern/modules', mode: 0o644, content: Buffer.from(listOf(modules)) },
    ...(options.overlay ? [{ path: 'etc/postern/overlay', mode: 0o644, content: Buffer.alloc(0) }] : []),
    ...(options.sharedRoot
      ? [{ path: 'etc/postern/shared-root', mode: 0o644, content: Buffer.alloc(0) }]
      : []),
    ...(await Promise.all(modules.map(moduleEntry))),
  ];
}

async function readAgent(): Promise<Buffer> {
  if (!existsSync(AGENT_FILE)) {
    throw new Error(`The backend agent is not built: ${AGENT_FILE} is missing. Run \`npm run setup\`.`);
  }
  return await readFile(AGENT_FILE);
}

function pathInside(module: Module): string {
  return `modules/${basename(module.file)}`;
}

/** The agent's list: a path and the parameters a line, in the order of loading. */
function listOf(modules: readonly Module[]): string {
  return modules
    .map((module) => `/${pathInside(module)} ${module.parameters}`.trimEnd())
    .join('\n')
    .concat('\n');
}

async function moduleEntry(module: Module): Promise<ArchiveEntry> {
  return { path: pathInside(module), mode: 0o644, content: await readFile(module.file) };
}

/** Every module once, dependencies first. */
async function modulesFor(kernel: Kernel, options: InitramfsOptions): Promise<Module[]> {
  const wanted = [
    ...BASE_MODULES,
    ...(options.sharedRoot ? SHARED_ROOT_MODULES : []),
    ...(options.overlay ? OVERLAY_MODULES : []),
    ...options.drivers,
  ];
  const find = ownModules(options.modules, kernel);
  const chains = await Promise.all(wanted.map((driver) => chainOf(kernel, find, driver)));
  const modules = new Map<string, Module>();
  for (const module of chains.flat()) {
    const known = modules.get(module.file);
    if (known === undefined) modules.set(module.file, module);
    else if (module.parameters !== '') known.parameters = module.parameters;
  }
  return [...modules.values()];
}

/** A driver's module with its dependencies before it; nothing for a driver that is part of the kernel image. */
async function chainOf(kernel: Kernel, find: FindOwnModule, driver: string): Promise<Module[]> {
  const [name = '', ...parameters] = driver.trim().split(/\s+/);
  if (!/^[\w-]+$/.test(name) || !parameters.every((parameter) => /^[\w.-]+=[\x21-\x7e]*$/.test(parameter))) {
    throw new Error(
      `The driver '${driver}' is not a module's name with parameters, such as 'vivid n_devs=1'.`,
    );
  }
  const own = find(name);
  if (own !== undefined) {
    const before = await Promise.all((await own.depends()).map((other) => chainOf(kernel, find, other)));
    return [...before.flat(), { file: own.file, parameters: parameters.join(' ') }];
  }
  // Without this machine's own configuration: its blacklists and options are not the driver VM's.
  const query = ['-C', '/dev/null', '--show-depends', '-d', kernel.modulesRoot, '-S', kernel.release, name];
  const listing = await runTool(
    'modprobe',
    query,
    `Name a driver that kernel ${kernel.release} has as a module.`,
  );
  const files = [...listing.matchAll(/^insmod (\S+)/gm)].map(([, file = '']) => file);
  const before = await Promise.all(
    files.slice(0, -1).map(async (file) => {
      const dependency = basename(file, '.ko');
      return find(dependency) ? await chainOf(kernel, find, dependency) : [{ file, parameters: '' }];
    }),
  );
  return [...before.flat(), ...files.slice(-1).map((file) => ({ file, parameters: parameters.join(' ') }))];
}
