import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { type ChainHead, chained, EMPTY_CHAIN, hashOf } from './chain.js';

/** The ending of the file that has the chain's last hash. */
export const HEAD_ENDING = '.head';

/**
 * A chain of lines in a file, with earlier segments beside it as FILE.1, FILE.2, …: the first line of each has the hash of the last one
 * before. A line is either wholly in the file or not at all, also when the disk is full.
 */
export class LogFile {
  private descriptor: number;
  private head: ChainHead;
  private bytes: number;
  private segment: number;
  private pending: string[] = [];

  /**
   * Opens a log, whose chain goes on where it ended.
   * @param segmentBytesMax a segment that is longer is followed by another
   * @throws Error when the file can't be opened, or is no log
   */
  constructor(
    readonly path: string,
    private readonly segmentBytesMax: number,
    private readonly about: object,
  ) {
    const before = existsSync(path) ? readTail(path) : undefined;
    this.descriptor = openSync(path, 'a', 0o600);
    this.head = before?.head ?? EMPTY_CHAIN;
    this.segment = before?.segment ?? 0;
    this.bytes = before?.bytes ?? 0;
    if (before === undefined || before.head.lines === 0) this.beginSegment();
    else this.add({ kind: 'continued', time: new Date().toISOString(), ...about });
    if (before !== undefined && before.tornBytes > 0) {
      ftruncateSync(this.descriptor, before.bytes);
      this.add({ kind: 'recovered', time: new Date().toISOString(), tornBytes: before.tornBytes });
    }
  }

  /** The chain as far as it has been added to. */
  get chain(): ChainHead {
    return this.head;
  }

  /** Lines that are not in the file yet. */
  get unwritten(): readonly string[] {
    return this.pending;
  }

  /** Adds a line, which `flush` writes. */
  add(body: object): void {
    const { line, head } = chained(this.head, body);
    this.head = head;
    this.pending.push(line);
  }

  /**
   * Writes what has been added. Where that fails, the file ends with the last whole line as before, and nothing is forgotten.
   * @throws Error of the file system, such as ENOSPC
   */
  flush(): void {
    if (this.pending.length === 0) return;
    const text = Buffer.from(`${this.pending.join('\n')}\n`);
    try {
      for (let written = 0; written < text.length; ) written += writeSync(this.descriptor, text, written);
    } catch (error) {
      ftruncateSync(this.descriptor, this.bytes);
      throw error;
    }
    this.bytes += text.length;
    this.pending = [];
    this.writeHead();
    if (this.bytes > this.segmentBytesMax) this.rotate();
  }

  /** What has been written is on the disk. */
  close(): void {
    fsyncSync(this.descriptor);
    closeSync(this.descriptor);
  }

  private rotate(): void {
    fsyncSync(this.descriptor);
    const fresh = `${this.path}.new`;
    const next = openSync(fresh, 'a', 0o600);
    renameSync(this.path, `${this.path}.${this.segment}`);
    renameSync(fresh, this.path);
    closeSync(this.descriptor);
    this.descriptor = next;
    this.bytes = 0;
    this.beginSegment();
    this.flush();
  }

  private beginSegment(): void {
    this.segment++;
    this.add({ kind: 'segment', time: new Date().toISOString(), segment: this.segment, ...this.about });
  }

  /** Beside the log; whoever may rewrite the log may rewrite this too, so that it is of use where it is copied away. */
  private writeHead(): void {
    const descriptor = openSync(this.path + HEAD_ENDING, 'w', 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify({ lines: this.head.lines, hash: this.head.hash })}\n`);
    } finally {
      closeSync(descriptor);
    }
  }
}

interface Tail {
  head: ChainHead;
  segment: number;
  /** Bytes of whole lines, and what comes after the last of them. */
  bytes: number;
  tornBytes: number;
}

function readTail(path: string): Tail {
  const content = readFileSync(path);
  const bytes = content.lastIndexOf(0x0a) + 1;
  const lines = content.subarray(0, bytes).toString('utf8').split('\n').slice(0, -1);
  const tornBytes = statSync(path).size - bytes;
  const [first, last] = [lines[0], lines.at(-1)];
  if (first === undefined || last === undefined)
    return { head: EMPTY_CHAIN, segment: 0, bytes: 0, tornBytes };
  try {
    const { segment } = JSON.parse(first) as { segment: unknown };
    const { line } = JSON.parse(last) as { line: unknown };
    if (typeof segment === 'number' && typeof line === 'number')
      return { head: { lines: line, hash: hashOf(last) }, segment, bytes, tornBytes };
  } catch {
    // Told below: it is no log.
  }
  throw new Error(`${path} is there and is no decision log: give another file, or move it away.`);
}
