import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DriverVm, type DriverVmOptions, startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { ROOT } from '../../host/root.js';

export const SNAPSHOTS = join(ROOT, '.cache', 'driver-vm');
mkdirSync(SNAPSHOTS, { recursive: true });

/** Driver VMs of a test file: what they said, and their end. */
export class Vms {
  readonly log: string[] = [];
  readonly #running: DriverVm[] = [];

  /** Starts a driver VM with vivid. */
  async start(options: Partial<DriverVmOptions> = {}): Promise<DriverVm> {
    const vm = await startDriverVm({ drivers: ['vivid'], log: (line) => this.log.push(line), ...options });
    this.#running.push(vm);
    return vm;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((vm) => vm.close()));
  }
}

/** The folders of snapshots of VMs with so much memory, complete or not. */
export function snapshotsOf(memoryBytes: number): string[] {
  return readdirSync(SNAPSHOTS)
    .map((name) => join(SNAPSHOTS, name))
    .filter((folder) => recordOf(folder).memoryBytes === memoryBytes);
}

/** The record of a complete snapshot; an empty one of an incomplete one. */
export function recordOf(folder: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(join(folder, 'snapshot.json'), 'utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** A VM's page list as a file, for a C program. */
export class PageList {
  readonly descriptor: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'postern-pages-'));

  constructor(vm: DriverVm) {
    const path = join(this.#folder, 'pages');
    writeFileSync(path, Buffer.from((vm.pages as BigUint64Array).buffer));
    this.descriptor = openSync(path, 'r');
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
