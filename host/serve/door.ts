import { mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { native } from '../native.js';
import { ROOT } from '../root.js';

const WORKER = join(ROOT, 'dist', 'host', 'serve', 'door-worker.js');
/** Where hosts of root are, who has no runtime folder of its own. */
const ROOT_FOLDER = '/run/postern';
const SOCKET_NAME = 'host.sock';
/** Write permission of group and others. */
const OTHERS_WRITE = 0o022;

/** A process of this user's that has connected. */
export interface Visitor {
  connection: number;
  pid: number;
  /** What it brought; -1: nothing. */
  descriptor: number;
}

/**
 * Where a host listens unless it is told otherwise: in the user's runtime folder, or root's in /run/postern.
 * @throws Error when there is no such folder
 */
export function defaultSocketPath(environment: NodeJS.ProcessEnv = process.env): string {
  const runtime = environment.XDG_RUNTIME_DIR;
  if (runtime !== undefined && runtime !== '') return join(runtime, 'postern', SOCKET_NAME);
  if (process.getuid?.() === 0) return join(ROOT_FOLDER, SOCKET_NAME);
  throw new Error(
    'XDG_RUNTIME_DIR is not set, so there is no usual place for the socket: give one by --socket PATH.',
  );
}

/** The socket at which a host is found. One host at a time has it: a lock beside it says so, which no crash leaves behind. */
export class Door {
  readonly #worker: Worker;
  readonly #closed: Promise<void>;

  private constructor(
    readonly path: string,
    private readonly listener: number,
    private readonly lock: number,
    onVisitor: (visitor: Visitor) => void,
    onFailure: (error: Error) => void,
  ) {
    this.#worker = new Worker(WORKER, { workerData: { listener } });
    this.#worker.on('message', onVisitor);
    this.#worker.on('error', onFailure);
    this.#closed = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
  }

  /**
   * Begins to listen. A socket that a host has left that was killed is replaced.
   * @throws Error when another host listens there, or when the folder is not safe
   */
  static open(path: string, onVisitor: (visitor: Visitor) => void, onFailure: (error: Error) => void): Door {
    prepareFolder(dirname(path));
    const lock = takeLock(path);
    try {
      rmSync(path, { force: true });
      return new Door(path, native.listenAt(path), lock, onVisitor, onFailure);
    } catch (error) {
      native.closeDescriptor(lock);
      throw error;
    }
  }

  /** Stops listening and removes the socket. */
  async close(): Promise<void> {
    rmSync(this.path, { force: true });
    native.stopAccepting(this.listener);
    await this.#closed;
    native.closeDescriptor(this.listener);
    native.closeDescriptor(this.lock);
  }
}

/** Whoever can write the folder can put a socket of his own there, and would get this user's guests. */
function prepareFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(folder);
  const isSticky = (mode & 0o1000) !== 0;
  if ((uid !== process.getuid?.() && uid !== 0) || ((mode & OTHERS_WRITE) !== 0 && !isSticky))
    throw new Error(`${folder} is no place for the socket: others can write to it.`);
}

function takeLock(path: string): number {
  try {
    return native.lockFile(`${path}.lock`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    throw new Error(`Another host serves at ${path}. End it first, or serve elsewhere by --socket PATH.`);
  }
}
