import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { native } from '../native.js';
import { ControlClient } from './control-client.js';
import type { DriverDomain, Log } from './domain.js';
import { CHANNEL_BYTES, CHANNELS_MAX } from './hello.js';
import { AGENT_FILE } from './initramfs.js';
import { withStreams } from './streams.js';
import { Watchdog } from './watchdog.js';

/** The agent answers within milliseconds; a machine under load, within a second. */
const START_TIMEOUT_MS = 20_000;
/** The agent ends when its streams do; one that does not is killed. */
const END_TIMEOUT_MS = 3000;
/** How much of the agent's own complaints goes into the reason of its exit. */
const REASON_CHARACTERS_MAX = 600;

/** Descriptors that the agent inherits, by their numbers there; the event counters follow. */
const AGENT_DESCRIPTORS = { control: 3, doorbell: 4, memory: 5, firstEvent: 6 } as const;

export interface LocalDomainOptions {
  log: Log;
}

/** A driver domain that is a process over this machine's own devices. */
export interface LocalDomain extends DriverDomain {
  kind: 'local';
  /** The agent's process id. */
  pid: number;
}

interface Descriptors {
  memory: number;
  doorbell: number;
  theirDoorbell: number;
  events: number[];
}

/**
 * Starts the backend agent over this machine's pseudo terminals and TUN device, locked down as far as this user may.
 * @throws Error with the agent's reason
 */
export async function startLocalDomain(options: LocalDomainOptions): Promise<LocalDomain> {
  if (!existsSync(AGENT_FILE)) {
    throw new Error(`The backend agent is not built: ${AGENT_FILE} is missing. Run \`npm run setup\`.`);
  }
  const descriptors = makeDescriptors();
  const agent = startAgent(descriptors, options.log);
  try {
    const hello = await agent.orEnd(agent.control.hello(undefined, START_TIMEOUT_MS));
    if (hello.channels !== CHANNELS_MAX) {
      throw new Error(`The backend agent serves ${hello.channels} channels, expected ${CHANNELS_MAX}.`);
    }
    return domainOf(agent, descriptors, hello.channelsAddress);
  } catch (error) {
    await agent.quit();
    closeAll(descriptors);
    throw error;
  }
}

function startAgent(descriptors: Descriptors, log: Log): AgentProcess {
  try {
    return new AgentProcess(descriptors, log);
  } catch (error) {
    closeAll(descriptors);
    throw error;
  } finally {
    native.closeDescriptor(descriptors.theirDoorbell);
  }
}

function makeDescriptors(): Descriptors {
  const memory = native.memfd('postern-channels', CHANNELS_MAX * CHANNEL_BYTES);
  const [doorbell, theirDoorbell] = native.socketPair();
  const events = Array.from({ length: CHANNELS_MAX }, () => native.eventFd());
  return { memory, doorbell, theirDoorbell, events };
}

function closeAll({ memory, doorbell, events }: Descriptors): void {
  for (const descriptor of [memory, doorbell, ...events]) native.closeDescriptor(descriptor);
}

function domainOf(agent: AgentProcess, descriptors: Descriptors, channelsAddress: bigint): LocalDomain {
  let closing: Promise<void> | undefined;
  const watchdog = new Watchdog(agent.control, (reason) => agent.kill(reason));
  void agent.ended.then(() => watchdog.stop());
  const end = async (): Promise<void> => {
    watchdog.stop();
    await agent.quit();
    closeAll(descriptors);
  };
  return {
    kind: 'local',
    pid: agent.pid as number,
    memory: { descriptor: descriptors.memory, bytes: CHANNELS_MAX * CHANNEL_BYTES },
    channels: CHANNELS_MAX,
    channelsAddress,
    pages: null,
    doorbell: descriptors.doorbell,
    channelEvents: descriptors.events,
    devices: () => agent.orEnd(agent.control.devices()),
    run: (argv, onOutput, input) => agent.orEnd(agent.control.run(argv, onOutput, input)),
    onExit: (listener) => {
      void agent.ended.then((reason) => closing ?? listener(reason));
    },
    close: () => {
      closing ??= end();
      return closing;
    },
  };
}

/** The running agent with its control stream. */
class AgentProcess {
  readonly control: ControlClient;
  /** Why the agent has ended, when it has. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #controlStream: Duplex;
  #hasEnded = false;
  #complaints = '';
  #killedFor: string | undefined;

  constructor(descriptors: Descriptors, log: Log) {
    this.#child = withStreams(spawnAgent(descriptors), 'The backend agent');
    this.#controlStream = this.#child.stdio[AGENT_DESCRIPTORS.control] as Duplex;
    this.control = new ControlClient(this.#controlStream, log);
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaints = (this.#complaints + chunk.toString('utf8')).slice(-REASON_CHARACTERS_MAX);
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) =>
        resolve(`the backend agent could not be started: ${error.message}`),
      );
      this.#child.once('close', (code, signal) => resolve(this.#describeEnd(code, signal)));
    });
    void this.ended.then(() => {
      this.#hasEnded = true;
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The result of `work`, or an error with the reason when the agent ends first. */
  async orEnd<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!this.#hasEnded && !this.#controlStream.destroyed) throw error;
      throw new Error(`The local driver domain has ended: ${await this.ended}`);
    }
  }

  /** @param why told as the reason of its end */
  kill(why: string): void {
    this.#killedFor = why;
    // Its backend processes die with it.
    this.#child.kill('SIGKILL');
  }

  /** Ends the control stream, which ends the agent, and waits for it. */
  async quit(): Promise<void> {
    if (this.#hasEnded) return;
    this.#controlStream.destroy();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  #describeEnd(code: number | null, signal: string | null): string {
    if (this.#killedFor !== undefined) return this.#killedFor;
    if (signal !== null) return `the backend agent was killed by ${signal}`;
    const words = this.#complaints.trim();
    return `the backend agent exited with status ${code}${words === '' ? '' : `: ${words}`}`;
  }
}

function spawnAgent({ memory, theirDoorbell, events }: Descriptors): ChildProcess {
  const fd = AGENT_DESCRIPTORS;
  const eventNumbers = events.map((_, index) => fd.firstEvent + index);
  const agentArguments = [
    'local',
    ...['--control', `${fd.control}`, '--doorbell', `${fd.doorbell}`, '--memory', `${fd.memory}`],
    ...['--events', eventNumbers.join(',')],
  ];
  const stdio: (number | 'ignore' | 'pipe')[] = [
    'ignore',
    'ignore',
    'pipe',
    'pipe',
    theirDoorbell,
    memory,
    ...events,
  ];
  // A session of its own: a terminal's Ctrl-C is for the guest, not for the driver domain.
  return spawn(AGENT_FILE, agentArguments, { stdio, detached: true, cwd: '/', env: {} });
}
