import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { closeDomain, everyServedDevice, openDomain } from '../../host/cli/driver-domain.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import type { GuestReport } from '../../host/mediator/guest.js';
import type { UnfitModule } from '../../host/package/stored.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { askHost, connectToHost, runServedGuest } from '../../host/serve/client.js';
import { Host } from '../../host/serve/host.js';
import type {
  ClassState,
  GuestState,
  RequestedDevice,
  ShadowReport,
  Switch,
} from '../../host/serve/protocol.js';
import { until } from '../cli/postern.js';

/** A guest of a host in this process. */
export class ServedGuest {
  out = '';
  readonly ended: Promise<GuestReport>;
  #launcher: ChildProcess | undefined;
  #hasEnded = false;

  constructor(socket: string, [program = '', ...args]: readonly string[], devices: RequestedDevice[] | null) {
    this.ended = runServedGuest(connectToHost(socket) as number, {
      ...{ program, args, devices, networkAdministration: false, log: openLog({}), name: 'guest' },
      stdio: ['pipe', 'pipe', 'inherit'],
      onStart: (launcher) => {
        this.#launcher = launcher;
        launcher.stdout?.on('data', (chunk: Buffer) => {
          this.out += chunk.toString();
        });
      },
    }).finally(() => {
      this.#hasEnded = true;
    });
    this.ended.catch(() => {}); // Whoever awaits it is told.
  }

  async printed(text: string): Promise<void> {
    await until(() => this.#hasEnded || this.out.includes(text), `the guest to print '${text}'`);
    if (!this.out.includes(text)) throw new Error(`The guest ended before it printed '${text}': ${this.out}`);
  }

  write(text: string): void {
    this.#launcher?.stdin?.write(text);
  }

  /** Ends its input, waits for its end, and tells what it printed. */
  async end(): Promise<string> {
    this.#launcher?.stdin?.end();
    const { exitCode, signal } = await this.ended;
    if (exitCode !== 0) throw new Error(`The guest ended with ${exitCode ?? signal}: ${this.out}`);
    return this.out;
  }
}

/** A host in this process, whose modules the test chooses; of the local domain's terminals unless the test has a domain of its own. */
export class TestHost {
  readonly records: Record<string, unknown>[] = [];
  readonly socket: string;
  candidates: PolicyPackage[] = [];
  /** What its store can't load. */
  unfit: UnfitModule[] = [];
  /** The version before one, by its store. */
  before: (deviceClass: string, digest: string) => PolicyPackage | undefined = () => undefined;
  /** What the host has told its store of: class, digest and reason. */
  readonly quarantined: [string, string, string][] = [];
  #host: Host | undefined;
  private readonly folder = mkdtempSync(join(tmpdir(), 'postern-host-'));

  private constructor(private packages: PolicyPackage[]) {
    this.socket = join(this.folder, 'host.sock');
  }

  /**
   * @param domain a domain of the test's own, or how each one is opened, where one that ends is to be replaced
   * @param onRecord told of what is logged, which is kept in `records` otherwise
   */
  static async start(
    packages: PolicyPackage[],
    domain?: DriverDomain | (() => Promise<DriverDomain>),
    onRecord?: (record: Record<string, unknown>) => void,
  ): Promise<TestHost> {
    const made = new TestHost(packages);
    const take = onRecord ?? ((record) => made.records.push(record));
    const log = pino({ level: 'info' }, { write: (line) => take(JSON.parse(line)) });
    const open = typeof domain === 'function' ? domain : async () => domain ?? (await localDomain(log));
    made.#host = await Host.start({
      socket: made.socket,
      log,
      policies: {
        inForce: async () => ({ policies: made.packages, unfit: made.unfit }),
        candidates: async () => ({ policies: made.candidates, unfit: [] }),
        before: async (deviceClass, digest) => made.before(deviceClass, digest),
        refused: () => [],
        quarantine: async (...found) => void made.quarantined.push(found),
        watch: () => () => {},
      },
      open,
      close: closeDomain,
      devices: null,
      served: everyServedDevice,
    });
    return made;
  }

  /** A guest that gets only these devices. */
  guestWith(devices: string[], ...command: string[]): ServedGuest {
    const requested = devices.map((name) => ({ name, path: `/dev/${name}` }));
    return new ServedGuest(this.socket, command, requested);
  }

  /** Brings a guest to the front. */
  async bring(guest: string): Promise<void> {
    await askHost(this.socket, { request: 'foreground', guest }, 'foreground');
  }

  guest(...command: string[]): ServedGuest {
    return new ServedGuest(this.socket, command, null);
  }

  /** Installs modules, and tells what became of them. */
  async install(...packages: PolicyPackage[]): Promise<Switch[]> {
    const classes = new Set(packages.map(({ manifest }) => manifest.class));
    this.packages = [...this.packages.filter(({ manifest }) => !classes.has(manifest.class)), ...packages];
    return (await askHost(this.socket, { request: 'refresh' }, 'refreshed')).switches;
  }

  /** Has the host look at its modules again. */
  async refresh(): Promise<void> {
    await askHost(this.socket, { request: 'refresh' }, 'refreshed');
  }

  /** Has modules judge beside those in force, and no others. */
  async shadow(...candidates: PolicyPackage[]): Promise<void> {
    this.candidates = candidates;
    await askHost(this.socket, { request: 'refresh' }, 'refreshed');
  }

  async shadowReports(): Promise<ShadowReport[]> {
    return (await askHost(this.socket, { request: 'shadow' }, 'shadow')).classes;
  }

  async guests(): Promise<GuestState[]> {
    return (await askHost(this.socket, { request: 'guests' }, 'guests')).guests;
  }

  async classes(): Promise<ClassState[]> {
    return (await askHost(this.socket, { request: 'policies' }, 'policies')).classes;
  }

  async close(): Promise<void> {
    await this.#host?.close('The test has ended.');
    rmSync(this.folder, { recursive: true });
  }
}

async function localDomain(log: pino.Logger): Promise<DriverDomain> {
  return await openDomain({ mode: 'local', drivers: [] }, log);
}
