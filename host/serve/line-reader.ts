import { Socket } from 'node:net';

/** QEMU's command lines are at most some tens of KiB; libvirt's longest are. */
const LINE_BYTES_MAX = 1 << 20;

/** One line of a peer that has connected. Closing it closes the connection. */
export class LineReader {
  readonly #socket: Socket;

  constructor(connection: number) {
    this.#socket = new Socket({ fd: connection, readable: true, writable: false });
  }

  /**
   * The first line.
   * @throws Error when the peer ends, fails or sends more than a line may have
   */
  line(): Promise<string> {
    return new Promise((resolve, reject) => {
      let bytes = Buffer.alloc(0);
      this.#socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        const end = bytes.indexOf('\n');
        if (end >= 0) resolve(bytes.subarray(0, end).toString('utf8'));
        else if (bytes.length > LINE_BYTES_MAX)
          reject(new Error(`The request has more than ${LINE_BYTES_MAX} bytes.`));
      });
      this.#socket.once('error', reject);
      this.#socket.once('end', () => reject(new Error('The connection ended before its request did.')));
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
