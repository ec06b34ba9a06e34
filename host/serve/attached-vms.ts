import { closeSync, constants, openSync } from 'node:fs';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { closeAperture, endsOf, fillAperture, newAperture } from '../guest-vm/aperture.js';
import {
  ATTACHED_DESCRIPTORS,
  addedArguments,
  memoryBytesOf,
  parseAttachment,
} from '../guest-vm/attachment.js';
import { assignDevices, type DeviceNames } from '../mediator/assignment.js';
import type { DomainKeeper } from '../mediator/domain-keeper.js';
import { compileModule } from '../mediator/guest.js';
import { Mediation } from '../mediator/mediation.js';
import { native } from '../native.js';
import type { PolicyPackage } from '../policy/store.js';
import { Door, type Visitor } from './door.js';
import { LineReader } from './line-reader.js';

/** VMs of the user's own that a driver domain serves. */
export interface AttachedVmsOptions {
  /** The path at which native/vm-exec finds this host. */
  socket: string;
  /** Keeps the driver domain there. */
  keeper: DomainKeeper;
  devices: DeviceNames;
  policies: PolicyPackage[];
  log: pino.Logger;
  /** Where decisions are logged, if anywhere. */
  audit?: DecisionLog | undefined;
}

/** How an attached VM is called, and where what happens to it is told. */
interface AttachedGuest {
  name: string;
  log: pino.Logger;
}

/** Gives each QEMU that is started through native/vm-exec the devices, and mediates for its guest until it ends. */
export class AttachedVms {
  /** Rejects when no more VM can be attached. */
  readonly failed: Promise<never>;
  readonly #door: Door;
  readonly #serving = new Map<number, Promise<unknown>>();
  readonly #mediations = new Map<Mediation, pino.Logger>();
  #next = 1;

  private constructor(private readonly options: AttachedVmsOptions) {
    let fail = (_: Error): void => {};
    this.failed = new Promise((_, reject) => {
      fail = reject;
    });
    this.failed.catch(() => {});
    this.#door = Door.open(options.socket, (visitor) => this.#welcome(visitor), fail);
  }

  /**
   * Begins to listen.
   * @throws Error when another host listens there
   */
  static open(options: AttachedVmsOptions): AttachedVms {
    return new AttachedVms(options);
  }

  /** The driver domain has ended. When this returns, nothing of it is used any more. */
  async loseDomain(): Promise<void> {
    await Promise.all([...this.#mediations.keys()].map((mediation) => mediation.loseDomain()));
  }

  /** Another driver domain in its place: what programs of the VMs open from now on is of that one. */
  async replaceDomain(next: DriverDomain): Promise<void> {
    const moves = [...this.#mediations].map(async ([mediation, log]) => {
      try {
        await mediation.replaceDomain(next);
      } catch (error) {
        log.error({ message: (error as Error).message }, 'a VM stays without driver domain');
      }
    });
    await Promise.all(moves);
  }

  /** No VM is attached any more; those that are lose their devices, and are ended: nothing runs unjudged. */
  async close(): Promise<void> {
    await this.#door.close();
    for (const pid of this.#serving.keys()) end(pid);
    await Promise.allSettled(this.#serving.values());
  }

  #welcome({ connection, pid, descriptor }: Visitor): void {
    if (descriptor >= 0) native.closeDescriptor(descriptor);
    const serving = this.#serve(connection, pid).catch((error: Error) => {
      this.options.log.error({ pid, message: error.message }, 'a VM could not be served');
    });
    this.#serving.set(pid, serving);
    void serving.then(() => this.#serving.delete(pid));
  }

  async #serve(connection: number, pid: number): Promise<void> {
    const name = `vm-${this.#next++}`;
    const log = this.options.log.child({ guest: name });
    const mediation = await this.#attach(connection, pid, { name, log });
    log.info({ pid }, 'a VM has been attached');
    // Nothing runs unjudged.
    mediation.ended.catch(() => end(pid));
    log.info({ ...(await mediation.ended) }, 'the VM has ended');
  }

  /** The connection's one request: answered with what QEMU needs, or with the reason why not. */
  async #attach(connection: number, pid: number, guest: AttachedGuest): Promise<Mediation> {
    const reader = new LineReader(connection);
    try {
      return await this.#give(connection, pid, parseAttachment(await reader.line()), guest);
    } catch (error) {
      try {
        native.handOver(connection, `-${(error as Error).message}`, []);
      } catch {
        // It has gone: nobody is left to be told.
      }
      throw error;
    } finally {
      reader.close();
    }
  }

  async #give(
    connection: number,
    pid: number,
    qemu: readonly string[],
    { name, log }: AttachedGuest,
  ): Promise<Mediation> {
    const { keeper, devices, policies, audit } = this.options;
    const domain = await keeper.current;
    const memoryBytes = memoryBytesOf(qemu);
    const assignment = await assignDevices(domain, devices, policies);
    const modules = await Promise.all(assignment.packages.map(compileModule));
    const aperture = newAperture();
    const ram = native.memfd('postern-guest-vm', memoryBytes);
    const [ours, theirs] = native.socketPair();
    const memory = domain.memory.descriptor;
    const memoryReadOnly = openSync(`/proc/self/fd/${memory}`, constants.O_RDONLY);
    let isServed = false;
    const release = (): void => {
      closeAperture(aperture);
      // The socket not before: QEMU drops what it has not read yet of one whose other end has gone.
      for (const descriptor of [ram, ours]) native.closeDescriptor(descriptor);
    };
    try {
      // From here to the mediation nothing waits: a domain that ends finds it there.
      if (!keeper.isThere(domain)) throw new Error('The driver domain has just ended: try again.');
      fillAperture(aperture, assignment.guarded);
      native.offerAperture(ours, aperture.memory, aperture.doorbell, aperture.interrupt);
      const mediation = await Mediation.start({
        source: {
          vm: {
            ...endsOf(aperture),
            ...{ ram, ramBytes: memoryBytes, process: pid },
            memory: ATTACHED_DESCRIPTORS.driverMemory,
            memoryReadOnly: ATTACHED_DESCRIPTORS.driverMemoryReadOnly,
            gifts: ATTACHED_DESCRIPTORS.gifts,
          },
          gifts: aperture.gifts.here,
        },
        ...{ domain, assignment, modules, networkAdministration: false, log },
        audit: audit && { log: audit, guest: name },
        onMade: (made) => {
          this.#mediations.set(made, log);
          made.ended.catch(() => {}).then(() => this.#mediations.delete(made));
        },
      });
      isServed = true;
      void mediation.ended.catch(() => {}).then(release);
      const answer = [String(process.pid), ...addedArguments(qemu, memoryBytes), ''].join('\0');
      native.handOver(connection, `+${answer}`, [ram, theirs, memory, memoryReadOnly, aperture.gifts.there]);
      return mediation;
    } finally {
      if (!isServed) release();
      closeSync(memoryReadOnly);
      native.closeDescriptor(theirs);
    }
  }
}

/** A VM that nobody serves any more is ended as by its user. */
function end(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It has ended by itself.
  }
}
