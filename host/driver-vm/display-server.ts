import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { native } from '../native.js';
import { unprivileged } from './qemu.js';

const XVFB = 'Xvfb';
/** Where the server finds its authority file, and where it says its number. */
const AUTHORITY_DESCRIPTOR = 3;
const NUMBER_DESCRIPTOR = 4;
/** It is up within a fraction of a second; busy continuous integration takes several times that. */
const START_TIMEOUT_MS = 30_000;
/** Xauthority(5), libXau's AuDispose.c: a record for every address and every display. */
const FAMILY_WILD = 0xffff;
const PROTOCOL = 'MIT-MAGIC-COOKIE-1';
const COOKIE_BYTES = 16;
/** A window for nobody: what is rendered for guests is off this screen. */
const SCREEN = '640x480x24';

/**
 * An X server without a screen, in which a QEMU draws that renders for its VM's graphics card: Debian's QEMU gets OpenGL from a window
 * system. Nobody else may connect: its key is in a file without a name, and it listens on one socket without a place in any folder.
 */
export class DisplayServer {
  /** QEMU inherits it: the file with the key. */
  readonly authority: number;
  readonly #server: ChildProcess;
  readonly #number: Promise<string>;

  constructor() {
    this.authority = authorityFile(randomBytes(COOKIE_BYTES));
    const { command, commandArguments } = unprivileged(
      [
        ...[XVFB, '-displayfd', String(NUMBER_DESCRIPTOR), '-auth', `/proc/self/fd/${AUTHORITY_DESCRIPTOR}`],
        ...['-screen', '0', SCREEN, '-nolisten', 'tcp', '-nolisten', 'unix'],
      ],
      // By this signal it removes its lock file.
      'TERM',
    );
    this.#server = spawn(command, commandArguments, {
      stdio: ['ignore', 'ignore', 'pipe', this.authority, 'pipe'],
      detached: true,
      cwd: '/',
    });
    this.#number = numberOf(this.#server);
    this.#number.catch(() => {}); // Whoever asks for the environment is told.
  }

  /**
   * The environment of a QEMU that has the authority file at `descriptor`.
   * @throws Error with the server's reason
   */
  async environment(descriptor: number): Promise<NodeJS.ProcessEnv> {
    return {
      PATH: process.env.PATH,
      DISPLAY: `:${await this.#number}`,
      XAUTHORITY: `/proc/self/fd/${descriptor}`,
      SDL_VIDEODRIVER: 'x11',
      // SDL would start a session bus, and a process that starts others is not in QEMU's sandbox.
      DBUS_SESSION_BUS_ADDRESS: 'disabled:',
      MESA_SHADER_CACHE_DISABLE: 'true',
    };
  }

  async close(): Promise<void> {
    closeSync(this.authority);
    if (this.#server.exitCode !== null || this.#server.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#server.once('close', resolve));
    if (this.#server.kill('SIGTERM')) await ended;
  }
}

/** A file without a name that lets those in who can read it. */
function authorityFile(cookie: Buffer): number {
  const file = native.memfd('postern-authority', 0);
  writeSync(file, authorityRecord(cookie));
  // The server, which may be another user, opens it anew; only this process may write it.
  const readable = openSync(`/proc/self/fd/${file}`, 'r');
  native.closeDescriptor(file);
  return readable;
}

function authorityRecord(cookie: Buffer): Buffer {
  const counted = (bytes: Buffer): Buffer => Buffer.concat([uint16(bytes.length), bytes]);
  const anyAddress = counted(Buffer.alloc(0));
  const anyDisplay = counted(Buffer.alloc(0));
  return Buffer.concat([
    uint16(FAMILY_WILD),
    anyAddress,
    anyDisplay,
    counted(Buffer.from(PROTOCOL)),
    counted(cookie),
  ]);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function numberOf(server: ChildProcess): Promise<string> {
  let words = '';
  server.stderr?.on('data', (chunk: Buffer) => {
    words += chunk.toString('utf8');
  });
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timer);
      reject(
        new Error(`The X server for the driver VM's graphics card did not start: ${reason}. Install xvfb.`),
      );
    };
    const timer = setTimeout(() => fail('it said nothing'), START_TIMEOUT_MS);
    server.once('error', (error) => fail(error.message));
    server.once('close', (code) => fail(`${words.trim() || `it ended with ${code}`}`));
    (server.stdio[NUMBER_DESCRIPTOR] as Readable).once('data', (chunk: Buffer) => {
      clearTimeout(timer);
      resolve(chunk.toString('utf8').trim());
    });
  });
}
