/** `npm run raise`: gives every module that has changed new numbers, and records what is given out. */
import { existsSync } from 'node:fs';
import { buildPolicies } from './build.js';
import {
  currentReleases,
  RELEASES,
  type Releases,
  raiseChanged,
  recorded,
  recordedReleases,
  writeReleases,
} from './releases.js';

const NOTHING: Releases = { contract: [], modules: {} };

try {
  await raise();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

async function raise(): Promise<void> {
  const say = (line: string): void => console.log(line);
  await buildPolicies(say);
  const before = existsSync(RELEASES) ? recordedReleases() : NOTHING;
  const raised = raiseChanged(before, currentReleases());
  for (const name of raised) say(`${name} has changed: its sequence number and its version are raised.`);
  if (raised.length > 0) await buildPolicies(say);
  writeReleases(recorded(before, currentReleases()));
  if (raised.length === 0) say('No module has changed since it was recorded.');
}
