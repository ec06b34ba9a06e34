import {
  installationCommand,
  installationObstacle,
  installDebianPackages,
  missingDebianPackages,
} from './debian-packages.js';
import { buildNative } from './native-builds.js';
import { withProgress } from './progress.js';

export interface SetUpOptions {
  /** Say so when there was nothing to do, for a person who asked for the set-up itself. */
  announceNothingToDo: boolean;
}

/**
 * Brings this machine to where guests can run. Every step looks first, and costs milliseconds when nothing is to do.
 * @throws Error when something is missing without which not even the local driver domain works
 */
export async function setUp(options: SetUpOptions): Promise<void> {
  const done = [...(await provideDebianPackages()), ...(await buildNative())];
  if (options.announceNothingToDo && done.length === 0) say('Everything is set up.');
}

/** Installs what is missing where that is possible; where not, says what to do and goes on with what there is. */
async function provideDebianPackages(): Promise<string[]> {
  const missing = missingDebianPackages();
  if (missing.length === 0) return [];
  const names = missing.map(({ name }) => name);
  const obstacle = installationObstacle();
  if (obstacle === '') {
    say(`Installing from Debian: ${missing.map(({ name, purpose }) => `${name} (${purpose})`).join(', ')}.`);
    try {
      await withProgress('Installing Debian packages', (note) => installDebianPackages(missing, note));
      return names;
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  }
  say(`Missing Debian packages${obstacle === '' ? '' : ` (${obstacle})`}:`);
  for (const { name, purpose } of missing) say(`  ${name}: ${purpose}`);
  say(`Install them with: ${installationCommand(missing)}`);
  return [];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
