import { buildPolicies } from '../policy/build.js';
import {
  installationCommand,
  installationObstacle,
  installDebianPackages,
  missingDebianPackages,
} from './debian-packages.js';
import { provideKernel } from './kernel-package.js';
import { buildNative } from './native-builds.js';
import { withProgress } from './progress.js';

export interface SetUpOptions {
  /** Say so when there was nothing to do, for a person who asked for the set-up itself. */
  announceNothingToDo: boolean;
}

/**
 * Brings this machine to where guests can run. Every step looks first, and costs milliseconds when nothing is to do.
 * What only the driver VM needs may be missing: that is said, and the local driver domain still works.
 * @throws Error when something is missing without which not even the local driver domain works
 */
export async function setUp({ announceNothingToDo }: SetUpOptions): Promise<void> {
  const steps = [provideDebianPackages, provideKernelWherePossible, buildNative, buildPolicyModules];
  let didSomething = false;
  for (const step of steps) didSomething = (await step()) || didSomething;
  if (announceNothingToDo && !didSomething) say('Everything is set up.');
}

/** Installs what is missing where that is possible; where not, says what to do and goes on with what there is. */
async function provideDebianPackages(): Promise<boolean> {
  const missing = missingDebianPackages();
  if (missing.length === 0) return false;
  const obstacle = installationObstacle();
  if (obstacle === '') {
    say(`Installing from Debian: ${missing.map(({ name, purpose }) => `${name} (${purpose})`).join(', ')}.`);
    try {
      await withProgress('Installing Debian packages', (note) => installDebianPackages(missing, note));
      return true;
    } catch (error) {
      sayError(error);
    }
  }
  say(`Missing Debian packages${obstacle === '' ? '' : ` (${obstacle})`}:`);
  for (const { name, purpose } of missing) say(`  ${name}: ${purpose}`);
  say(`Install them with: ${installationCommand(missing)}`);
  return true;
}

async function provideKernelWherePossible(): Promise<boolean> {
  try {
    return await provideKernel();
  } catch (error) {
    sayError(error);
    say('There will be no driver VM; the local driver domain works without one.');
    return true;
  }
}

async function buildPolicyModules(): Promise<boolean> {
  const built = await buildPolicies((line) => say(line));
  return built.length > 0;
}

function sayError(error: unknown): void {
  say(error instanceof Error ? error.message : String(error));
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
