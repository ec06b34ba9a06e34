import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { assignDevices } from '../mediator/assignment.js';
import { DomainKeeper } from '../mediator/domain-keeper.js';
import { Mediation } from '../mediator/mediation.js';
import { native } from '../native.js';
import type { PolicyPackage } from '../policy/store.js';
import { Channel } from './channel.js';
import { Door, type Visitor } from './door.js';
import { Front } from './front.js';
import { tellsBoth } from './guest-log.js';
import { type Guest, Guests } from './guests.js';
import { Modules } from './modules.js';
import {
  parseRequest,
  type Reply,
  type Request,
  type RequestedDevice,
  type RunRequest,
  type Switch,
} from './protocol.js';
import type { FoundModules, PolicySource } from './source.js';

/** A guest that is told to end gets SIGTERM, and after a while SIGKILL, from its command: both are over by then. */
const GUESTS_END_MS = 8000;

/** What a host serves with. */
export interface HostOptions {
  /** Path of the socket. */
  socket: string;
  log: pino.Logger;
  /** Where the decisions about all guests are logged. */
  audit?: DecisionLog | undefined;
  policies: PolicySource;
  /** Opens the driver domain: at the start, and anew for the guests to come when one has ended. */
  open(): Promise<DriverDomain>;
  close(domain: DriverDomain): Promise<void>;
  /** The only devices that guests get; null: every device that a policy serves. */
  devices: RequestedDevice[] | null;
  /** The devices that a guest gets which asks for none by name, where the host does not say. */
  served(domain: DriverDomain, policies: readonly PolicyPackage[]): Promise<RequestedDevice[]>;
}

/** A live host: one driver domain kept warm, and guests that come and go. */
export class Host {
  /** Rejects when the host can't go on. */
  readonly failed: Promise<never>;
  readonly #guests = new Guests();
  readonly #keeper: DomainKeeper;
  #door: Door | undefined;
  #modules: Modules;
  readonly #front = new Front();
  #stopWatching = (): void => {};
  #isClosing = false;
  #fail = (_error: Error): void => {};

  private constructor(
    private readonly options: HostOptions,
    found: FoundModules,
  ) {
    this.#modules = new Modules(found, options.policies, this.#guests, options.log);
    this.#keeper = new DomainKeeper({
      open: () => options.open(),
      close: (domain) => options.close(domain),
      log: options.log,
      onLost: () => this.#lose(),
      onReplaced: (next) => this.#moveTo(next),
    });
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
  }

  /**
   * Starts the driver domain, then listens.
   * @throws Error when a policy module is not fit, another host listens there, or the driver domain does not start
   */
  static async start(options: HostOptions): Promise<Host> {
    // A module's code is compiled once and for good when it is made ready. By default V8 would do it twice, the second time while guests
    // call it and on as many threads as there are, which go before nobody but take the processors from the guests.
    setFlagsFromString('--no-liftoff');
    const host = new Host(options, await options.policies.inForce());
    try {
      await host.#modules.takeCandidates(await options.policies.candidates());
      host.#stopWatching = options.policies.watch(() => void host.#refresh());
      host.#door = Door.open(
        options.socket,
        (visitor) => host.#welcome(visitor),
        (error) => host.#fail(error),
      );
      await host.#keeper.current;
      return host;
    } catch (error) {
      await host.close('The host could not start.');
      throw error;
    }
  }

  /** Ends every guest, then the driver domain, and removes the socket. */
  async close(why: string): Promise<void> {
    this.#isClosing = true;
    this.#stopWatching();
    await this.#door?.close();
    const guests = this.#guests.all();
    for (const { channel } of guests) send(channel, { reply: 'stopping', message: why });
    const ends = Promise.allSettled(guests.map(({ mediation }) => mediation.ended));
    await Promise.race([ends, sleep(GUESTS_END_MS, undefined, { ref: false })]);
    // A command whose host is gone kills its guest.
    for (const { channel } of guests) channel.destroy();
    await ends;
    await this.#modules.close();
    await this.#keeper.close();
  }

  async #lose(): Promise<void> {
    await Promise.all(this.#guests.all().map(({ mediation }) => mediation.loseDomain()));
  }

  /** The domain has ended and another is there: what guests have open stays dead, what they open next is of the new one. */
  async #moveTo(next: DriverDomain): Promise<void> {
    const moves = this.#guests.all().map(async ({ name, mediation }) => {
      try {
        await mediation.replaceDomain(next);
      } catch (error) {
        this.options.log.error(
          { guest: name, message: (error as Error).message },
          'a guest stays without driver domain',
        );
      }
    });
    await Promise.all(moves);
  }

  #welcome({ connection, pid, descriptor }: Visitor): void {
    let isFirst = true;
    const channel: Channel = new Channel(connection, (line) => {
      // One request a connection: whatever follows is nobody's.
      if (!isFirst) return channel.destroy();
      isFirst = false;
      void this.#answer(channel, line, descriptor, pid);
    });
    void channel.closed.then(() => {
      if (isFirst && descriptor >= 0) native.closeDescriptor(descriptor);
    });
  }

  /** Whatever goes wrong with one request is that request's alone. */
  async #answer(channel: Channel, line: string, descriptor: number, pid: number): Promise<void> {
    try {
      const request = requestOf(line, descriptor);
      if (request.request === 'run') await this.#run(channel, request, descriptor);
      else send(channel, await this.#do(request));
    } catch (error) {
      const message = (error as Error).message;
      this.options.log.warn({ pid, message }, 'a request failed');
      send(channel, { reply: 'failed', message });
    }
    channel.end();
  }

  async #do(request: Exclude<Request, RunRequest>): Promise<Reply> {
    switch (request.request) {
      case 'guests':
        return { reply: 'guests', guests: await this.#guests.states(this.#front.name) };
      case 'shadow':
        return { reply: 'shadow', classes: await this.#modules.reports() };
      case 'foreground':
        return await this.#bring(request.guest);
      case 'policies':
        return {
          reply: 'policies',
          classes: this.#modules.states(),
          refused: this.options.policies.refused(),
        };
      case 'refresh':
        return await this.#refreshed();
    }
  }

  async #bring(name: string): Promise<Reply> {
    const guest = this.#guests.find(name);
    const there = this.#guests.all().map((other) => other.name);
    if (guest === undefined)
      throw new Error(`There is no guest '${name}'. There is: ${there.join(', ') || 'none'}.`);
    await this.#front.bring(guest);
    return { reply: 'foreground', guest: name };
  }

  /** A guest has found that a module misbehaves: where another takes its place, nobody has it any more, and the store does not give it out again. */
  async #quarantine(deviceClass: string, digest: string, reason: string): Promise<void> {
    try {
      if (await this.#modules.fallBack(deviceClass, digest, reason))
        await this.options.policies.quarantine(deviceClass, digest, reason);
    } catch (error) {
      const { message } = error as Error;
      this.options.log.error(
        { class: deviceClass, digest, message },
        'the store does not know of a quarantine',
      );
    }
  }

  /** The store has changed. What can't be read or used leaves everything as it is. */
  async #refresh(): Promise<void> {
    try {
      await this.#takeStore();
    } catch (error) {
      const { message } = error as Error;
      this.options.log.error({ message }, 'the policy store cannot be used; what was in force stays');
    }
  }

  /** A command has changed the store, and waits for what comes of it. */
  async #refreshed(): Promise<Reply> {
    const switches = await this.#takeStore();
    return {
      reply: 'refreshed',
      store: this.options.policies.folder ?? null,
      switches,
      latest: this.#modules.latest(),
      classes: this.#modules.states(),
    };
  }

  async #takeStore(): Promise<Switch[]> {
    const switches = await this.#modules.take(await this.options.policies.inForce());
    await this.#modules.takeCandidates(await this.options.policies.candidates());
    return switches;
  }

  /** Mediates for a guest from its launcher's start to its end. */
  async #run(channel: Channel, request: RunRequest, socket: number): Promise<void> {
    const name = this.#guests.reserve(request.name);
    try {
      const guest = await this.#admit(channel, request, name, socket);
      void guest.mediation.ended.catch(() => {}).then(() => this.#front.leave(guest));
      void this.#modules.catchUp(guest);
      send(channel, { reply: 'accepted', name });
      const { counters, decisions } = await guest.mediation.ended;
      this.options.log.info({ guest: name, counters }, 'a guest has ended');
      send(channel, { reply: 'ended', counters, decisions });
    } finally {
      this.#guests.release(name);
    }
  }

  async #admit(channel: Channel, request: RunRequest, name: string, socket: number): Promise<Guest> {
    const { networkAdministration, tells } = request;
    try {
      if (this.#isClosing) throw new Error('The host is about to end.');
      const domain = await this.#keeper.current;
      const devices = await this.#devicesFor(request, domain);
      const assignment = await assignDevices(
        domain,
        devices,
        this.#modules.packages,
        this.#modules.missing(),
      );
      const modules = await Promise.all(assignment.packages.map((each) => this.#modules.compiled(each)));
      // From here to the guest's place among the others nothing waits: a domain that ends finds it there.
      if (!this.#keeper.isThere(domain)) throw new Error('The driver domain has just ended: try again.');
      const log = tellsBoth(this.options.log.child({ guest: name }), tells ? channel : undefined);
      const guest: Guest = {
        name,
        channel,
        packages: assignment.packages,
        startedMs: performance.now(),
        pid: 0,
        mediation: new Mediation({
          ...{
            source: { socket },
            domain,
            assignment,
            modules,
            networkAdministration,
            log,
            front: this.#front.isFree,
          },
          audit: this.options.audit === undefined ? undefined : { log: this.options.audit, guest: name },
          onStart: (process) => {
            guest.pid = process;
          },
          onMisbehaved: (...found) => void this.#quarantine(...found),
        }),
      };
      // At once: the next guest must not find the front free as well.
      this.#front.join(guest);
      this.#guests.add(guest);
      return guest;
    } catch (error) {
      native.closeDescriptor(socket);
      throw error;
    }
  }

  async #devicesFor({ devices }: RunRequest, domain: DriverDomain): Promise<RequestedDevice[]> {
    const given = this.options.devices;
    const missing = devices?.find(
      ({ name }) => given !== null && !given.some((other) => other.name === name),
    );
    if (missing !== undefined) throw new Error(`This host gives no guest the device '${missing.name}'.`);
    return devices ?? given ?? (await this.options.served(domain, this.#modules.packages));
  }
}

function requestOf(line: string, descriptor: number): Request {
  try {
    const request = parseRequest(line);
    const brings = descriptor >= 0;
    if ((request.request === 'run') === brings) return request;
    throw new Error(brings ? 'Only a run brings a descriptor.' : 'A run must bring its control socket.');
  } catch (error) {
    if (descriptor >= 0) native.closeDescriptor(descriptor);
    throw error;
  }
}

function send(channel: Channel, reply: Reply): void {
  channel.send(reply);
}
