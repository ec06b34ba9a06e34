import type { Duplex, Readable } from 'node:stream';
import { type Device, parseDevices } from './devices.js';
import type { Log, OnOutput, ProgramEnd } from './domain.js';
import { FRAME, type Frame, FrameParser, frameOf } from './frames.js';
import { type Hello, parseHello } from './hello.js';
import { UntrustedLog } from './untrusted-log.js';

/** Listing takes milliseconds; under emulation on a busy machine, a few hundred. */
const DEVICES_TIMEOUT_MS = 20_000;
/** Less than the longest request that the agent takes. */
const INPUT_BYTES_AT_ONCE = 32 << 10;
const NS_PER_MS = 1_000_000n;

interface Request {
  type: number;
  onOutput?: OnOutput;
  /** Called when the request is on its way. */
  onAsked?: () => void;
  resolve(payload: Buffer): void;
  reject(error: Error): void;
}

/** The host's end of the control stream: one request at a time, each answered by a frame of its own type. */
export class ControlClient {
  readonly #stream: Duplex;
  readonly #parser = new FrameParser();
  readonly #agentLog: UntrustedLog;
  readonly #log: Log;
  #current: Request | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #broken: Error | undefined;

  constructor(stream: Duplex, log: Log) {
    this.#stream = stream;
    this.#log = log;
    this.#agentLog = new UntrustedLog(log, 'backend agent');
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', (error) => this.#break(error));
    stream.on('close', () => this.#break(new Error('The control stream to the backend agent has ended.')));
  }

  /**
   * Greets the agent, which sets a VM's clock.
   * @param memoryBytes size of the VM's memory, undefined for a local domain
   */
  async hello(memoryBytes: number | undefined, timeoutMs: number): Promise<Hello> {
    const clock = Buffer.alloc(8);
    clock.writeBigUInt64LE(BigInt(Date.now()) * NS_PER_MS);
    return parseHello(await this.#request({ type: FRAME.hello }, clock, timeoutMs), memoryBytes);
  }

  /** Whether nothing is asked: a ping would wait behind a program that runs. */
  get isIdle(): boolean {
    return this.#current === undefined;
  }

  /** Resolves when the agent has answered. */
  async ping(): Promise<void> {
    await this.#request({ type: FRAME.ping }, Buffer.alloc(0));
  }

  async devices(): Promise<Device[]> {
    return parseDevices(await this.#request({ type: FRAME.devices }, Buffer.alloc(0), DEVICES_TIMEOUT_MS));
  }

  async run(argv: readonly string[], onOutput: OnOutput, input?: Readable): Promise<ProgramEnd> {
    const payload = Buffer.from(argv.map((argument) => `${argument}\0`).join(''));
    let stop = (): void => undefined;
    const onAsked = (): void => {
      stop = this.#forward(input);
    };
    const status = this.#request({ type: FRAME.run, onOutput, onAsked }, payload);
    return parseWaitStatus(await status.finally(() => stop()));
  }

  /** A program's standard input, until the returned function is called: the agent takes a frame when the one before has been read. */
  #forward(input: Readable | undefined): () => void {
    const end = (): void => {
      this.#stream.write(frameOf(FRAME.input));
    };
    if (input === undefined) {
      end();
      return () => undefined;
    }
    const pass = (chunk: Buffer): void => {
      for (let at = 0; at < chunk.length; at += INPUT_BYTES_AT_ONCE)
        this.#stream.write(frameOf(FRAME.input, chunk.subarray(at, at + INPUT_BYTES_AT_ONCE)));
      if (!this.#stream.writableNeedDrain) return;
      input.pause();
      this.#stream.once('drain', () => input.resume());
    };
    input.on('data', pass).once('end', end);
    return () => {
      input.off('data', pass).off('end', end).pause();
    };
  }

  #request(
    kind: Pick<Request, 'type' | 'onOutput' | 'onAsked'>,
    payload: Buffer,
    timeoutMs?: number,
  ): Promise<Buffer> {
    const answer = this.#last.then(() => this.#ask(kind, payload, timeoutMs));
    this.#last = answer.catch(() => {});
    return answer;
  }

  #ask(
    kind: Pick<Request, 'type' | 'onOutput' | 'onAsked'>,
    payload: Buffer,
    timeoutMs?: number,
  ): Promise<Buffer> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      const overdue = new Error(`The backend agent has not answered for ${timeoutMs} ms.`);
      // After that, an answer that comes late would be taken for the next request's: the stream is of no use any more.
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.#break(overdue), timeoutMs);
      this.#current = {
        ...kind,
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#stream.write(frameOf(kind.type, payload));
      kind.onAsked?.();
    });
  }

  #take(chunk: Buffer): void {
    if (this.#broken !== undefined) return;
    try {
      for (const frame of this.#parser.push(chunk)) this.#handle(frame);
    } catch (error) {
      this.#log(`control stream: ${(error as Error).message}`);
      this.#break(error as Error);
    }
  }

  #handle({ type, payload }: Frame): void {
    const request = this.#current;
    if (type === FRAME.log) {
      this.#agentLog.push(payload);
    } else if ((type === FRAME.output || type === FRAME.error) && request?.onOutput !== undefined) {
      request.onOutput(payload, type === FRAME.error);
    } else if (type === request?.type) {
      this.#current = undefined;
      request.resolve(payload);
    } else {
      throw new Error(`The backend agent sent a frame of type ${type} that nobody had asked for.`);
    }
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#current?.reject(this.#broken);
    this.#current = undefined;
  }
}

/** Reads a status as waitpid(2) gives it. */
function parseWaitStatus(payload: Buffer): ProgramEnd {
  if (payload.length !== 4)
    throw new Error(`The backend agent sent a wait status of ${payload.length} bytes, expected 4.`);
  const status = payload.readInt32LE(0);
  const signal = status & 0x7f;
  return signal === 0 ? { code: (status >> 8) & 0xff, signal: null } : { code: null, signal };
}
