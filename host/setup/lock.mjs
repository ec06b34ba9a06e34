// @ts-check
// One set-up at a time: two of them would compile into the same files.
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How often a waiting set-up looks again; short beside any step worth waiting for. */
const LOOK_AGAIN_MS = 200;

/**
 * Runs `work` while holding `lockFile`, which names the holder's process. A lock whose holder is gone is taken over.
 * @template T
 * @param {string} lockFile
 * @param {() => Promise<T>} work
 * @param {(text: string) => void} say told once when another set-up has to be waited for
 * @returns {Promise<T>}
 */
export async function withLock(lockFile, work, say) {
  mkdirSync(dirname(lockFile), { recursive: true });
  for (let told = false; !take(lockFile); told = true) {
    if (!told) say(`Waiting for another set-up (process ${holderOf(lockFile)}) to finish.`);
    await sleep(LOOK_AGAIN_MS);
  }
  try {
    return await work();
  } finally {
    unlinkSync(lockFile);
  }
}

/**
 * @param {string} lockFile
 * @returns {boolean} whether this process holds the lock now
 */
function take(lockFile) {
  // The file appears with its content in place, by a link, so that no one ever reads an empty lock.
  const mine = `${lockFile}.${process.pid}`;
  writeFileSync(mine, `${process.pid}\n`);
  try {
    linkSync(mine, lockFile);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    if (!isRunning(holderOf(lockFile))) unlinkIfThere(lockFile);
    return false;
  } finally {
    unlinkSync(mine);
  }
}

/** @param {string} lockFile */
function holderOf(lockFile) {
  try {
    return Number.parseInt(readFileSync(lockFile, 'utf8'), 10);
  } catch {
    // The holder has just finished.
    return Number.NaN;
  }
}

/** @param {number} pid */
function isRunning(pid) {
  if (Number.isNaN(pid)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/** @param {string} path */
function unlinkIfThere(path) {
  try {
    unlinkSync(path);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
  }
}
