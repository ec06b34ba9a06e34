// @ts-check
// The way from a fresh clone to a running program, without dependencies of its own:
//   node host/setup/bootstrap.mjs [start | test | compliance | bench | hostile | soak | fuzz | mutants | loc | build] [arguments of the target]
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withLock } from './lock.mjs';
import { digestOf, filesBelow, readStamp, writeStamp } from './stamp.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODULES_STAMP = join(ROOT, 'node_modules', '.postern-stamp');
const DIST = join(ROOT, 'dist');
const DIST_STAMP = join(DIST, '.stamp');

/** What each target runs after the set-up, as a module of this process. */
const TARGETS = new Map([
  ['start', 'dist/host/cli/start.js'],
  ['compliance', 'dist/host/cli/compliance.js'],
  ['bench', 'dist/test/bench/main.js'],
  ['hostile', 'dist/test/hostile/main.js'],
  ['soak', 'dist/test/soak/main.js'],
  ['fuzz', 'dist/test/native/fuzz.js'],
  ['mutants', 'dist/test/native/show-mutants.js'],
  ['loc', 'dist/host/cli/loc.js'],
  ['test', 'node_modules/vitest/vitest.mjs'],
]);

await main(process.argv.slice(2));

/** @param {string[]} commandLine */
async function main([target = 'setup', ...rest]) {
  try {
    checkTarget(target);
    checkNodeVersion();
    await withLock(join(ROOT, '.cache', 'setup.lock'), () => prepare(target), say);
  } catch (error) {
    fail(error);
  }
  await runTarget(target, rest);
}

/** @param {string} target */
async function prepare(target) {
  installModules();
  compile();
  if (target === 'build' || target === 'loc') return;
  const { setUp } = await import(pathToFileURL(join(DIST, 'host', 'setup', 'main.js')).href);
  await setUp({ announceNothingToDo: target === 'setup' });
}

/** @param {string} target */
function checkTarget(target) {
  if (target === 'setup' || target === 'build' || TARGETS.has(target)) return;
  throw new Error(`Unknown target '${target}': expected setup, build, ${[...TARGETS.keys()].join(', ')}.`);
}

function checkNodeVersion() {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const wanted = numbersOf(engines.node);
  const have = numbersOf(process.versions.node);
  const tooOld = have.major < wanted.major || (have.major === wanted.major && have.minor < wanted.minor);
  if (tooOld)
    throw new Error(`Node ${engines.node} is needed, this is ${process.version}. Install a newer Node.`);
}

/** @param {string} version */
function numbersOf(version) {
  const [major = 0, minor = 0] = (version.match(/\d+/g) ?? []).map(Number);
  return { major, minor };
}

/** Brings node_modules to what package-lock.json says. */
function installModules() {
  const digest = digestOf(ROOT, [join(ROOT, 'package-lock.json')]);
  if (readStamp(MODULES_STAMP) === digest) return;
  if (!installedMatchesLock()) {
    say('Installing the npm packages of package-lock.json.');
    // Not `npm ci`: it refuses a lock file without the optional packages of other platforms, which a registry need not have.
    run(
      'npm',
      ['install', '--no-save', '--no-audit', '--no-fund'],
      'Check the network, or the registry that npm is configured for.',
    );
  }
  writeStamp(MODULES_STAMP, digest);
}

/** Whether npm's own record of what is installed agrees with package-lock.json; optional packages may be absent. */
function installedMatchesLock() {
  const record = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const { '': _itself, ...wanted } = JSON.parse(
    readFileSync(join(ROOT, 'package-lock.json'), 'utf8'),
  ).packages;
  const names = new Set([...Object.keys(installed), ...Object.keys(wanted)]);
  return [...names].every((name) => {
    if (installed[name] === undefined) return wanted[name].optional === true;
    return installed[name].integrity === wanted[name]?.integrity;
  });
}

/** Compiles host/ and test/ into dist/ when any source has changed, and removes what has no source any more. */
function compile() {
  const sources = ['host', 'test'].flatMap((folder) => filesBelow(join(ROOT, folder), isSource));
  const digest = digestOf(ROOT, [...sources, join(ROOT, 'tsconfig.json'), join(ROOT, 'package-lock.json')]);
  if (readStamp(DIST_STAMP) === digest) return;
  say('Compiling TypeScript.');
  rmSync(DIST_STAMP, { force: true });
  run('node', [join('node_modules', 'typescript', 'bin', 'tsc')], 'Correct the errors above.');
  removeStale(new Set(sources.map((path) => withoutExtension(relative(ROOT, path)))));
  writeStamp(DIST_STAMP, digest);
}

/** @param {string} path */
function isSource(path) {
  return /\.[mc]?[tj]s$|\.json$/.test(path);
}

/** @param {Set<string>} sources paths relative to the repository, without their extensions */
function removeStale(sources) {
  const folders = ['host', 'test'].map((folder) => join(DIST, folder)).filter((folder) => existsSync(folder));
  for (const path of folders.flatMap((folder) => filesBelow(folder)))
    if (!sources.has(withoutExtension(relative(DIST, path)))) rmSync(path);
}

/** @param {string} path */
function withoutExtension(path) {
  return path.replace(/(\.d)?\.[mc]?[tj]s(\.map)?$|\.json$/, '');
}

/**
 * Runs a command in the repository; what it prints goes to standard error, which leaves standard output to the target.
 * @param {string} command
 * @param {string[]} commandArguments
 * @param {string} advice
 */
function run(command, commandArguments, advice) {
  const line = [command, ...commandArguments].join(' ');
  const { status, signal, error } = spawnSync(command, commandArguments, {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (error) throw new Error(`'${line}' could not be started: ${error.message}`);
  if (status !== 0) throw new Error(`'${line}' failed (${signal ?? `status ${status}`}). ${advice}`);
}

/**
 * @param {string} target
 * @param {string[]} rest
 */
async function runTarget(target, rest) {
  const path = TARGETS.get(target);
  if (path === undefined) return;
  process.chdir(ROOT);
  const module = join(ROOT, path);
  process.argv = [process.execPath, module, ...(target === 'test' ? ['run', ...rest] : rest)];
  await import(pathToFileURL(module).href);
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`${text}\n`);
}

/**
 * @param {unknown} error
 * @returns {never}
 */
function fail(error) {
  say(`postern: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
