import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { compileGuestProgram, DYNAMICALLY } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { connectToHost, runServedGuest } from '../../host/serve/client.js';
import type { RequestedDevice } from '../../host/serve/protocol.js';
import { numbersAfter } from '../bench/programs.js';

/** What a guest did since its last report (test/soak/worker.c); times in microseconds. */
export interface GuestNumbers {
  operations: number;
  failed: number;
  /** How often its device went. */
  lost: number;
  /** How often a driver said that its hardware, or the program, was late. */
  late: number;
  median: number;
  p99: number;
}

/** A guest answers between two operations, of which the longest waits for a frame or for its domain. */
const REPORT_TIMEOUT_MS = 30_000;
/** What is kept of what guests say about failures. */
const COMPLAINTS_MAX = 50;

/** What a guest of the soak does, and with which device. */
export interface Work {
  /** Its name in the report. */
  name: string;
  /** The kind that test/soak/worker.c knows. */
  kind: string;
  devices: RequestedDevice[];
  fast?: boolean;
}

/** A guest that works until it is told to end, or for so many rounds. */
export class SoakGuest {
  readonly complaints: string[] = [];
  /** How it ended: nothing where all was well, else what was not. */
  readonly ended: Promise<string | undefined>;
  /** Its launcher, once it runs; undefined when it never did. */
  readonly #launcher: Promise<ChildProcess | undefined>;
  #isMeantToEnd = false;
  /** However it then ends, and be it before it has begun, is well. */
  #isKilled = false;
  #tellReport: (line: string | undefined) => void = () => {};
  #hasEnded = false;
  /** The last report, which a guest that ends by itself gives unasked. */
  #last = '';

  constructor(
    socket: string,
    readonly work: Work,
    rounds?: number,
  ) {
    this.#isMeantToEnd = rounds !== undefined;
    const program = compileGuestProgram('worker', 'soak', work.fast ? DYNAMICALLY : []);
    const connection = connectToHost(socket);
    if (connection === undefined) throw new Error(`No host listens at ${socket}.`);
    let tellStart: (launcher?: ChildProcess) => void = () => {};
    this.#launcher = new Promise((resolve) => {
      tellStart = resolve;
    });
    const running = runServedGuest(connection, {
      ...{ program, args: [work.kind, ...(rounds === undefined ? [] : [String(rounds)])] },
      ...{ devices: work.devices, networkAdministration: false, fast: work.fast ?? false },
      ...{ log: openLog({}), name: work.name, stdio: ['pipe', 'pipe', 'inherit'] },
      onStart: (launcher) => {
        this.#listen(launcher);
        tellStart(launcher);
      },
    }).finally(() => {
      this.#hasEnded = true;
      tellStart();
      this.#tellReport(undefined);
    });
    this.ended = running.then(
      ({ exitCode, signal }) => {
        if (exitCode === 0 && this.#isMeantToEnd) return undefined;
        return this.#isKilled ? undefined : `it ended with ${exitCode ?? signal}`;
      },
      (error: Error) => (this.#isKilled ? undefined : error.message),
    );
  }

  /** What it did since its last report; undefined when it has ended. */
  async report(): Promise<GuestNumbers | undefined> {
    const launcher = await this.#launcher;
    if (this.#hasEnded) return undefined;
    const said = await new Promise<string | undefined>((resolve, reject) => {
      const late = new Error(`The guest '${this.work.name}' does not answer any more.`);
      const timer = setTimeout(() => reject(late), REPORT_TIMEOUT_MS);
      this.#tellReport = (line) => {
        clearTimeout(timer);
        resolve(line);
      };
      launcher?.stdin?.write('\n');
    });
    return said === undefined ? undefined : numbersOf(said);
  }

  /** Ends its input, waits for its end, and tells what it did since its last report. */
  async end(): Promise<GuestNumbers | undefined> {
    this.#isMeantToEnd = true;
    (await this.#launcher)?.stdin?.end();
    await this.ended;
    return this.#last === '' ? undefined : numbersOf(this.#last);
  }

  /** Ends it in the middle of whatever it does. */
  async kill(): Promise<void> {
    this.#isKilled = true;
    (await this.#launcher)?.kill('SIGKILL');
  }

  #listen(launcher: ChildProcess): void {
    launcher.stdin?.on('error', () => {}); // It may have ended.
    if (launcher.stdout === null) return;
    createInterface({ input: launcher.stdout }).on('line', (line) => {
      if (!line.startsWith('report ')) {
        if (this.complaints.length < COMPLAINTS_MAX) this.complaints.push(line);
        return;
      }
      this.#last = line;
      this.#tellReport(line);
    });
  }
}

function numbersOf(line: string): GuestNumbers {
  const [, operations, failed, lost, late, median, p99] = line.split(' ');
  const named = `operations ${operations} failed ${failed} lost ${lost} late ${late} median ${median} p99 ${p99}`;
  return numbersAfter(named, ['operations', 'failed', 'lost', 'late', 'median', 'p99']);
}
