import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import type { GuestVm } from '../../host/guest-vm/guest-vm.js';
import { Budget } from './budget.js';
import { guestVmOf } from './programs.js';

export const CAMERA = { name: 'video0', path: '/dev/video0' };
export const TERMINAL = { name: 'ptmx', path: '/dev/ptmx' };

/** What the benchmarks use of a driver VM: a camera, a card of buffers, a sound card and input devices. */
const DRIVERS = ['vivid', 'vgem', 'snd-dummy', 'uinput'] as const;

/** Driver domains that several benchmarks of a run share: each is started when it is first asked for, and all end with the run. */
export class Stage {
  readonly quick: boolean;
  /** Of the benchmark that runs. */
  budget = Budget.UNLIMITED;
  #local: Promise<DriverDomain> | undefined;
  #vm: Promise<DriverDomain> | undefined;
  #guestVm: Promise<GuestVm> | undefined;

  /** @param quick whether the benchmarks take fewer and shorter runs */
  constructor(quick: boolean) {
    this.quick = quick;
  }

  /** The local driver domain. */
  local(): Promise<DriverDomain> {
    this.#local ??= openDomain({ mode: 'local', drivers: [] }, openLog({}));
    return this.#local;
  }

  /**
   * A driver VM that shares this machine's root, so that a program can run beside the drivers as well. One that does not start is tried again by the
   * next benchmark.
   */
  vm(): Promise<DriverDomain> {
    if (this.#vm === undefined) {
      this.#vm = openDomain({ mode: 'cold', drivers: [...DRIVERS], shareRoot: true }, openLog({}));
      this.#vm.catch(() => {
        this.#vm = undefined;
        this.#guestVm = undefined;
      });
    }
    return this.#vm;
  }

  /** A guest VM that has the driver VM's camera. */
  guestVm(): Promise<GuestVm> {
    if (this.#guestVm === undefined) {
      this.#guestVm = this.vm().then((domain) => guestVmOf(domain, [CAMERA]));
      this.#guestVm.catch(() => {
        this.#guestVm = undefined;
      });
    }
    return this.#guestVm;
  }

  /** Ends what was started. */
  async close(): Promise<void> {
    const started = await Promise.allSettled([this.#guestVm, this.#vm, this.#local]);
    const [guestVm, ...domains] = started.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
    await (guestVm as GuestVm | undefined)?.close();
    for (const domain of domains as (DriverDomain | undefined)[])
      if (domain !== undefined) await closeDomain(domain);
  }
}

/** Runs `use` with a stage of its own, which ends with it. */
export async function onStage<T>(quick: boolean, use: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = new Stage(quick);
  try {
    return await use(stage);
  } finally {
    await stage.close();
  }
}
