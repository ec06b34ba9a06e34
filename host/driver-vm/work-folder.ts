import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const NAME = /\.new-(\d+)-[0-9a-f]{8}$/;

/**
 * Makes a folder for something that is not finished, beside its final place: a rename makes it whole at once. What processes
 * have left that ended in the middle of it is removed first.
 * @param name the final name
 */
export async function newWorkFolder(parent: string, name: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  await dropAbandoned(parent);
  const folder = join(parent, `${name}.new-${process.pid}-${randomBytes(4).toString('hex')}`);
  await mkdir(folder);
  return folder;
}

async function dropAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const owner = name.match(NAME)?.[1];
    if (owner !== undefined && !isRunning(Number(owner))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
