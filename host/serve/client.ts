/** A command's side of a running host. */
import type { ChildProcess } from 'node:child_process';
import type pino from 'pino';
import { endOf, type GuestReport, type LauncherOptions, startLauncher } from '../mediator/guest.js';
import { native } from '../native.js';
import { Channel } from './channel.js';
import { parseReply, type Reply, type Request, type RequestedDevice, type RunRequest } from './protocol.js';

/** A guest whose host ends is asked to end, and after this is made to. */
const GUEST_ENDS_MS = 5000;

/** A program to run as a guest of a running host. */
export interface ServedGuestOptions extends LauncherOptions {
  name: string;
  /** Null: every device that the host serves. */
  devices: RequestedDevice[] | null;
  networkAdministration: boolean;
  log: pino.Logger;
  onStart?: (launcher: ChildProcess) => void;
}

/**
 * Connects to the host that listens at `path`.
 * @returns the connected socket; undefined when no host listens there
 * @throws Error when somebody else does
 */
export function connectToHost(path: string): number | undefined {
  try {
    return native.connectTo(path);
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

/**
 * Asks the host that listens at `path`, and returns its one answer.
 * @param waitMs how long to wait for it; undefined: as long as it takes
 * @throws Error when there is none, or it refuses
 */
export async function askHost<Kind extends Reply['reply']>(
  path: string,
  request: Exclude<Request, RunRequest>,
  expected: Kind,
  waitMs?: number,
): Promise<Extract<Reply, { reply: Kind }>> {
  const connection = connectToHost(path);
  if (connection === undefined) throw new Error(`No host listens at ${path}. Start one: postern serve.`);
  const replies = new Replies(connection, -1, request);
  let isLate = false;
  const giveUp = (): void => {
    isLate = true;
    replies.channel.destroy();
  };
  const timer = waitMs === undefined ? undefined : setTimeout(giveUp, waitMs);
  const reply = await replies.next().catch((error: Error) => {
    throw isLate
      ? new Error(`The host at ${path} has not answered within ${(waitMs ?? 0) / 1000} s.`)
      : error;
  });
  clearTimeout(timer);
  replies.channel.destroy();
  if (reply.reply !== expected) throw refusalOf(reply);
  return reply as Extract<Reply, { reply: Kind }>;
}

/**
 * Runs a program as a guest of a running host. The program is this process's, with its terminal, folder, environment and signals;
 * the host mediates.
 * @param connection from connectToHost; closed at the end
 * @throws Error when the host refuses, or ends before the guest
 */
export async function runServedGuest(connection: number, options: ServedGuestOptions): Promise<GuestReport> {
  const { name, devices, networkAdministration, log } = options;
  const [hostEnd, launcherEnd] = native.socketPair();
  const tells = log.isLevelEnabled('error');
  const request: RunRequest = { request: 'run', name, devices, networkAdministration, tells };
  const replies = new Replies(connection, hostEnd, request);
  let launcher: ChildProcess;
  try {
    const first = await replies.next();
    if (first.reply !== 'accepted') throw refusalOf(first);
    launcher = startLauncher(options, launcherEnd);
  } catch (error) {
    replies.channel.destroy();
    throw error;
  } finally {
    native.closeDescriptor(hostEnd);
    native.closeDescriptor(launcherEnd);
  }
  options.onStart?.(launcher);
  const [end, work] = await Promise.all([endOf(launcher), attend(replies, launcher, log)]);
  return { ...end, counters: { ...work.counters, decisionNs: work.decisions } };
}

/** Follows what the host says until the guest has ended. Whatever goes wrong with the host ends the guest: nothing runs unjudged. */
async function attend(
  replies: Replies,
  launcher: ChildProcess,
  log: pino.Logger,
): Promise<Extract<Reply, { reply: 'ended' }>> {
  try {
    for (;;) {
      const reply = await replies.next();
      if (reply.reply === 'ended') return reply;
      if (reply.reply === 'log') log[reply.level](reply.fields, reply.text);
      else if (reply.reply === 'stopping') end(launcher, reply.message);
      else throw refusalOf(reply);
    }
  } catch (error) {
    launcher.kill('SIGKILL');
    throw error;
  } finally {
    replies.channel.destroy();
  }
}

/** The host ends: its guests end first, as at a shutdown. */
function end(launcher: ChildProcess, message: string): void {
  process.stderr.write(`postern: ${message}\n`);
  launcher.kill('SIGTERM');
  setTimeout(() => launcher.kill('SIGKILL'), GUEST_ENDS_MS).unref();
}

/** What the host says when it can't do what it was asked for. */
export class HostRefusal extends Error {
  override readonly name = 'HostRefusal';
}

function refusalOf(reply: Reply): Error {
  if (reply.reply === 'failed' || reply.reply === 'stopping') return new HostRefusal(reply.message);
  return new Error(`The host answered '${reply.reply}', which was not expected: are both of one version?`);
}

/** The replies to one request, in turn. */
class Replies {
  readonly channel: Channel;
  readonly #arrived: string[] = [];
  #wake = (): void => {};
  #hasEnded = false;

  constructor(connection: number, descriptor: number, request: Request) {
    native.greet(connection, descriptor);
    this.channel = new Channel(connection, (line) => {
      this.#arrived.push(line);
      this.#wake();
    });
    void this.channel.closed.then(() => {
      this.#hasEnded = true;
      this.#wake();
    });
    this.channel.send(request);
  }

  async next(): Promise<Reply> {
    while (this.#arrived.length === 0) {
      if (this.#hasEnded) throw new Error('The host has ended; so has the guest.');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return parseReply(this.#arrived.shift() as string);
  }
}
