import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'postern-tests-';
/** Anybody may write there, as in the folder that it stands for: some tests have commands run as another user. */
const MODE = 0o1777;

/**
 * Gives a run of tests a folder of its own for temporary files, and removes it at the end. What runs that were killed have left is removed by
 * the next one. The reporter fails a run that has left something there (`leftBehind`).
 */
export default function setUp(): () => void {
  removeAbandoned();
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  chmodSync(folder, MODE);
  process.env.TMPDIR = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}

/** What tests, or the commands that they ran, have left in the run's folder. */
export function leftBehind(): string[] {
  return tmpdir().includes(PREFIX) ? readdirSync(tmpdir()).filter((name) => name.startsWith('postern-')) : [];
}

function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = /^postern-tests-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
