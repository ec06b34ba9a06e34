import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { chmod, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { ownCache } from '../cache.js';
import type { QmpClient } from './qmp.js';
import { type Extent, loadRam, saveRam } from './ram-image.js';
import { newWorkFolder } from './work-folder.js';

/** A snapshot is its owner's alone: it is a VM's memory. */
const SNAPSHOT_FOLDER = join(ownCache(), 'driver-vm');
/** Each set of drivers has a snapshot of its own, of about a hundred MiB: the ones used last stay. */
const KEPT_SNAPSHOTS = 4;
/** Saving the device state takes some ten milliseconds; a machine that swaps, longer. */
const MIGRATION_TIMEOUT_MS = 20_000;
/** The device state of this small machine is well below one MiB; RAM is not part of it. */
const STATE_BYTES_MAX = 16 << 20;
const POLL_MS = 5;
/** A VM's memory is its owner's. QEMU gets descriptors. */
const FILE_MODE = 0o600;
const SOCKET_NAME = 'state.socket';

interface Record {
  memoryBytes: number;
  stateDigest: string;
  extents: Extent[];
}

/** A snapshot of a driver VM that has just booted. */
export interface Snapshot {
  folder: string;
  record: Record;
}

/**
 * @param inputs everything that a snapshot depends on
 * @returns the name of its snapshot
 */
export function snapshotKey(inputs: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 32);
}

/**
 * The snapshot with this key, or undefined when there is none or it is broken. A broken one is removed, and `log` hears about it.
 */
export async function findSnapshot(key: string, log: (line: string) => void): Promise<Snapshot | undefined> {
  const folder = join(SNAPSHOT_FOLDER, key);
  if (!existsSync(join(folder, 'snapshot.json'))) return undefined;
  try {
    const record = JSON.parse(readFileSync(join(folder, 'snapshot.json'), 'utf8')) as Record;
    const state = readFileSync(join(folder, 'state'));
    if (digestOf(state) !== record.stateDigest) throw new Error('its device state has another digest');
    if (statSync(join(folder, 'ram')).size !== record.memoryBytes)
      throw new Error('its RAM has another size');
    return { folder, record };
  } catch (error) {
    log(`The driver VM's snapshot ${key} is broken and is made anew: ${(error as Error).message}.`);
    await dropSnapshot(key);
    return undefined;
  }
}

/** Fills a fresh memory file with the snapshot's RAM. */
export async function loadSnapshotRam(snapshot: Snapshot, memory: number): Promise<void> {
  await loadRam(join(snapshot.folder, 'ram'), snapshot.record.extents, memory);
  const now = new Date();
  await unlessDenied(utimes(snapshot.folder, now, now));
}

/** A descriptor of the saved device state, for QEMU. */
export function openSnapshotState(snapshot: Snapshot): number {
  return openSync(join(snapshot.folder, 'state'), 'r');
}

/** Lets a QEMU that waits for it take over the device state, and run. */
export async function resumeFromState(qmp: QmpClient, descriptor: number): Promise<void> {
  await ignoreSharedRam(qmp);
  await qmp.execute('migrate-incoming', { uri: `fd:${descriptor}` });
}

/** Removes a snapshot that did not work. */
export async function dropSnapshot(key: string): Promise<void> {
  await unlessDenied(rm(join(SNAPSHOT_FOLDER, key), { recursive: true, force: true }));
}

/** Somebody else's snapshots can be used, but neither marked as used nor removed. */
async function unlessDenied(change: Promise<void>): Promise<void> {
  await change.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EACCES' && error.code !== 'EPERM') throw error;
  });
}

/** A folder for a snapshot to be made; QEMU must have it as its working folder. */
export async function newSnapshotFolder(key: string): Promise<string> {
  const folder = await newWorkFolder(SNAPSHOT_FOLDER, key);
  // QEMU, which may be another user, must find the socket in it, and nothing else.
  await chmod(folder, 0o711);
  return folder;
}

/**
 * Saves a VM that runs in `folder` and lets it run on.
 * @throws Error when it can't be saved; the VM runs on all the same
 */
export async function takeSnapshot(
  qmp: QmpClient,
  memory: { descriptor: number; bytes: number },
  folder: string,
  key: string,
): Promise<void> {
  try {
    const state = await receiveState(qmp, folder);
    await writeFile(join(folder, 'state'), state, { mode: FILE_MODE });
    const extents = await saveRam(memory.descriptor, memory.bytes, join(folder, 'ram'));
    const record: Record = { memoryBytes: memory.bytes, stateDigest: digestOf(state), extents };
    await writeFile(join(folder, 'snapshot.json'), JSON.stringify(record), { mode: FILE_MODE });
  } finally {
    await qmp.execute('cont');
  }
  await putInPlace(folder, key);
}

/** The folder gets its name last: with it, the snapshot is whole. Another process may have been faster: then its one stays. */
async function putInPlace(folder: string, key: string): Promise<void> {
  const target = join(SNAPSHOT_FOLDER, key);
  if (existsSync(target)) return;
  await rename(folder, target);
  await dropOldSnapshots();
}

async function dropOldSnapshots(): Promise<void> {
  const names = (await readdir(SNAPSHOT_FOLDER)).filter((name) => /^[0-9a-f]{32}$/.test(name));
  const dated = await Promise.all(
    names.map(async (name) => ({ name, usedMs: (await stat(join(SNAPSHOT_FOLDER, name))).mtimeMs })),
  );
  dated.sort((a, b) => b.usedMs - a.usedMs);
  for (const { name } of dated.slice(KEPT_SNAPSHOTS)) await dropSnapshot(name);
}

/** RAM is a shared file, and saved as such: without this, QEMU would send it through the stream. */
async function ignoreSharedRam(qmp: QmpClient): Promise<void> {
  const capabilities = [{ capability: 'x-ignore-shared', state: true }];
  await qmp.execute('migrate-set-capabilities', { capabilities });
}

/** QEMU 7.2 can't save into a file without running a shell, so it sends the state through a socket in its working folder. */
async function receiveState(qmp: QmpClient, folder: string): Promise<Buffer> {
  await ignoreSharedRam(qmp);
  const socket = await listenIn(folder);
  try {
    const received = socket.received;
    // A failure that is reported by QEMU first must not be an unhandled one here.
    received.catch(() => {});
    await qmp.execute('migrate', { uri: `unix:${SOCKET_NAME}` });
    await migrationCompleted(qmp);
    return await received;
  } finally {
    socket.close();
  }
}

interface StateSocket {
  received: Promise<Buffer>;
  close(): void;
}

/** Named through the folder's descriptor: a socket's path has at most 107 bytes, the repository's may have more. */
async function listenIn(folder: string): Promise<StateSocket> {
  const directory = openSync(folder, 'r');
  const path = `/proc/self/fd/${directory}/${SOCKET_NAME}`;
  const server = createServer({ allowHalfOpen: true });
  const received = new Promise<Buffer>((resolve, reject) => {
    server.once('error', reject);
    server.once('connection', (connection) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      connection.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > STATE_BYTES_MAX)
          connection.destroy(new Error(`The device state is over ${STATE_BYTES_MAX} bytes.`));
      });
      connection.once('error', reject);
      connection.once('end', () => {
        connection.end();
        resolve(Buffer.concat(chunks));
      });
    });
  });
  const close = (): void => {
    server.close();
    closeSync(directory);
  };
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await chmod(path, 0o777);
  return { received, close };
}

async function migrationCompleted(qmp: QmpClient): Promise<void> {
  const deadlineMs = performance.now() + MIGRATION_TIMEOUT_MS;
  for (;;) {
    const answer = (await qmp.execute('query-migrate')) as { status?: string; 'error-desc'?: string };
    if (answer.status === 'completed') return;
    const isOver =
      answer.status === 'failed' || answer.status === 'cancelled' || performance.now() > deadlineMs;
    if (isOver) throw new Error(`QEMU's state was not saved: ${answer['error-desc'] ?? answer.status}.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Removes what is left of a snapshot that was not completed. */
export async function dropSnapshotFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
