import type { Duplex } from 'node:stream';

/** QEMU's answers take milliseconds; a stopped or dying QEMU gives none. */
const ANSWER_TIMEOUT_MS = 20_000;
/** Far above any answer to the commands used here. */
const LINE_CHARACTERS_MAX = 1 << 20;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

interface Message {
  return?: unknown;
  error?: { desc?: string };
  event?: string;
  data?: unknown;
  id?: number;
}

/** A client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt). */
export class QmpClient {
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<string, (data: unknown) => void>();
  #pending = '';
  #nextId = 1;
  #ended: Error | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#take(text));
    stream.on('error', (error) => this.#end(error));
    stream.on('close', () => this.#end(new Error('QEMU has closed its control connection.')));
  }

  /**
   * Runs a QMP command.
   * @throws Error with QEMU's own words
   */
  async execute(command: string, commandArguments: Record<string, unknown> = {}): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#nextId++;
    const timer = setTimeout(() => {
      const error = new Error(`QEMU has not answered '${command}' for ${ANSWER_TIMEOUT_MS} ms.`);
      this.#waiting.get(id)?.reject(error);
    }, ANSWER_TIMEOUT_MS);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#stream.write(`${JSON.stringify({ execute: command, arguments: commandArguments, id })}\n`);
      });
    } catch (error) {
      throw new Error(`QEMU's command '${command}' failed: ${(error as Error).message}`);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** Calls `listener` whenever QEMU reports `event`; one listener an event. */
  on(event: string, listener: (data: unknown) => void): void {
    this.#listeners.set(event, listener);
  }

  #take(text: string): void {
    const lines = (this.#pending + text).split('\n');
    this.#pending = lines.pop() ?? '';
    try {
      if (this.#pending.length > LINE_CHARACTERS_MAX) throw new Error('an endless line');
      for (const line of lines) this.#handle(JSON.parse(line) as Message);
    } catch (error) {
      this.#end(new Error(`QEMU sent what is no QMP: ${(error as Error).message}`));
    }
  }

  #handle(message: Message): void {
    if (message.event !== undefined) this.#listeners.get(message.event)?.(message.data);
    const waiting = this.#waiting.get(message.id ?? 0);
    if (message.error !== undefined) waiting?.reject(new Error(message.error.desc ?? 'no reason given'));
    else waiting?.resolve(message.return);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended);
  }
}
