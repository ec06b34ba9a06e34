import { Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** The longest line: a guest's list of devices, or the list of all guests, stays far below. */
const LINE_BYTES_MAX = 1 << 20;
/** What waits for a peer that does not read; log lines beyond it are dropped, anything else ends the connection. */
const WAITING_BYTES_MAX = 4 << 20;

/** One connection between a command and a host, by lines. Errors of the connection are its end. */
export class Channel {
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  /**
   * @param descriptor the connected socket; the channel closes it
   * @param onLine told each line in turn
   */
  constructor(descriptor: number, onLine: (line: string) => void) {
    this.#socket = new Socket({ fd: descriptor, readable: true, writable: true });
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.on('error', () => this.#socket.destroy());
    let lineBytes = 0;
    this.#socket.on('data', (chunk: Buffer) => {
      const end = chunk.lastIndexOf('\n');
      lineBytes = end < 0 ? lineBytes + chunk.length : chunk.length - end - 1;
      if (lineBytes > LINE_BYTES_MAX) this.#socket.destroy();
    });
    // It passes the socket's errors on, which are the connection's end.
    createInterface({ input: this.#socket })
      .on('line', onLine)
      .on('error', () => {});
  }

  /** Sends a message. What `canWait` is dropped when the peer does not read. */
  send(message: object, canWait = false): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.writableLength > WAITING_BYTES_MAX) {
      if (!canWait) this.#socket.destroy();
      return;
    }
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends the connection once everything has been sent. */
  end(): void {
    this.#socket.end();
  }

  /** Ends the connection now. */
  destroy(): void {
    this.#socket.destroy();
  }
}
