import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../root.js';
import { runCommand } from './command.js';
import { type Note, withProgress } from './progress.js';
import { digestOf, filesBelow, readStamp, writeStamp } from './stamp.mjs';

interface NativeBuild {
  name: string;
  /** Files and folders, relative to the repository, whose bytes decide whether to build again. */
  inputs: string[];
  /** Files that the build leaves, relative to the repository. */
  outputs: string[];
  build(note: Note): Promise<void>;
}

const BUILDS: readonly NativeBuild[] = [
  {
    name: 'backend agent',
    inputs: ['native/agent', 'native/protocol'],
    outputs: ['native/agent/build/postern-agent'],
    build: (note) => make('native/agent', note),
  },
  {
    name: 'guest launcher',
    inputs: ['native/launcher', 'native/protocol'],
    outputs: ['native/build/launcher', 'native/build/confine'],
    build: (note) => make('native/launcher', note),
  },
  {
    name: 'fast frontend',
    inputs: ['native/frontend', 'native/protocol'],
    outputs: ['native/build/postern-fast.so'],
    build: (note) => make('native/frontend', note),
  },
  {
    name: 'native addon',
    inputs: ['native/addon', 'native/protocol', 'native/binding.gyp'],
    outputs: ['native/build/Release/postern.node'],
    build: buildAddon,
  },
];

/**
 * Builds the native parts whose inputs have changed since the last successful build, or whose outputs are missing.
 * @returns whether anything was built
 * @throws Error with the compiler's last lines
 */
export async function buildNative(): Promise<boolean> {
  let didSomething = false;
  for (const build of BUILDS) {
    const stampFile = join(ROOT, '.cache', 'stamps', build.name.replaceAll(' ', '-'));
    const digest = digestOf(ROOT, build.inputs.flatMap(filesOf), `${process.version} ${process.arch}`);
    if (readStamp(stampFile) === digest && build.outputs.every(isThere)) continue;
    await withProgress(`Building the ${build.name}`, (note) => build.build(note));
    writeStamp(stampFile, digest);
    didSomething = true;
  }
  return didSomething;
}

/** The outputs of the native builds that are not there, relative to the repository. */
export function missingNativeOutputs(): string[] {
  return BUILDS.flatMap(({ outputs }) => outputs).filter((path) => !isThere(path));
}

function isThere(path: string): boolean {
  return existsSync(join(ROOT, path));
}

function filesOf(input: string): string[] {
  const path = join(ROOT, input);
  return input.endsWith('.gyp') ? [path] : filesBelow(path);
}

/** Makes everything anew: the digest knows better than file dates whether anything has changed. */
async function make(folder: string, note: Note): Promise<void> {
  await runCommand('make', ['--always-make', '-C', folder], { cwd: ROOT, onLine: note });
}

async function buildAddon(note: Note): Promise<void> {
  const nodeGyp = join(ROOT, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const headers = installedNodeHeaders();
  const nodedir = headers === undefined ? [] : [`--nodedir=${headers}`];
  // What npm passes down as npm_config_nodedir may belong to another Node; the headers found here do not.
  const { npm_config_nodedir: _ignored, ...environment } = process.env;
  await runCommand(process.execPath, [nodeGyp, 'configure', 'build', '--release', '-j', '2', ...nodedir], {
    cwd: join(ROOT, 'native'),
    environment: headers === undefined ? process.env : environment,
    onLine: note,
  });
}

/**
 * The prefix below which this very Node's headers are installed (prefix/include/node), so that node-gyp need not download them.
 * @returns undefined where there are none: node-gyp then fetches them from nodejs.org
 */
export function installedNodeHeaders(): string | undefined {
  const variables = process.config.variables as { node_prefix?: string };
  const prefixes = [
    process.env.npm_config_nodedir,
    dirname(dirname(process.execPath)),
    variables.node_prefix,
  ];
  return prefixes.find((prefix) => prefix !== undefined && headersVersion(prefix) === process.version);
}

function headersVersion(prefix: string): string {
  const path = join(prefix, 'include', 'node', 'node_version.h');
  if (!existsSync(path)) return '';
  const text = readFileSync(path, 'utf8');
  const part = (name: string): string =>
    text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1] ?? '';
  return `v${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`;
}
