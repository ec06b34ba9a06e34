import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type MediatorCounters, native } from '../native.js';
import { meteredModule } from '../policy/meter.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { ROOT } from '../root.js';
import { assignDevices } from './assignment.js';
import type { DecisionTimes } from './decision-times.js';
import { Mediation } from './mediation.js';
import type { ModuleInput } from './messages.js';

const LAUNCHER = join(ROOT, 'native', 'build', 'launcher');
const FAST_FRONTEND = join(ROOT, 'native', 'build', 'postern-fast.so');

/** A program to run as a guest. */
export interface GuestOptions {
  program: string;
  args: string[];
  /** Devices of the domain by name, and where the guest sees each. */
  devices: { name: string; path: string }[];
  domain: DriverDomain;
  log: pino.Logger;
  /** Where decisions are logged. */
  audit?: DecisionLog | undefined;
  /** For the log. */
  name: string;
  /** The guest's environment; this process's own by default. */
  environment?: NodeJS.ProcessEnv;
  /** Whether the guest's programs, where they are linked dynamically, post their operations instead of being trapped. */
  fast?: boolean;
  /** The guest's working directory; this process's own by default. */
  directory?: string;
  /** Whether the guest keeps CAP_NET_ADMIN, over this machine's network: programs that set up a TUN interface need it. */
  networkAdministration?: boolean;
  /** Standard input, output and error; inherited by default. */
  stdio?: ('inherit' | 'ignore' | 'pipe' | number)[];
  /** Told of the launcher's process once it runs: for its pipes, and for sending the guest signals. */
  onStart?: (launcher: ChildProcess) => void;
  /** For tests: see mediation.ts. */
  operationDeadlineMs?: number;
  /** Told of the guest's mediation, for moving it to another driver domain. */
  onMediation?: (mediation: Mediation) => void;
  /** The policy modules; those that are built by default. */
  policies?: PolicyPackage[];
}

/** How a guest ended, and what it did. */
export interface GuestReport {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  counters: MediatorCounters & { decisionNs: DecisionTimes };
}

/**
 * Runs a program as a guest, and returns when it has ended and everything of it has been released.
 * @throws Error when a device is not there or has no policy, or when the guest could not be started
 */
export async function runGuest(options: GuestOptions): Promise<GuestReport> {
  const { domain, devices, policies, log, name, networkAdministration = false } = options;
  const assignment = await assignDevices(domain, devices, policies ?? loadPolicies());
  const modules = await Promise.all(assignment.packages.map(compileModule));
  const [socket, launcherEnd] = native.socketPair();
  let launcher: ChildProcess;
  try {
    launcher = startLauncher(options, launcherEnd);
  } catch (error) {
    native.closeDescriptor(socket);
    throw error;
  } finally {
    native.closeDescriptor(launcherEnd);
  }
  options.onStart?.(launcher);
  const guestLog = log.child({ guest: name });
  const mediation = new Mediation({
    source: { socket },
    domain,
    assignment,
    modules,
    networkAdministration,
    ...(options.operationDeadlineMs === undefined
      ? {}
      : { operationDeadlineMs: options.operationDeadlineMs }),
    log: guestLog,
    audit: options.audit === undefined ? undefined : { log: options.audit, guest: name },
  });
  options.onMediation?.(mediation);
  mediation.ended.catch(() => launcher.kill('SIGKILL'));
  const [end, work] = await Promise.all([endOf(launcher), mediation.ended]);
  return { ...end, counters: { ...work.counters, decisionNs: work.decisions } };
}

/** A policy module as a mediator takes it. */
export async function compileModule({ core, manifest, digest }: PolicyPackage): Promise<ModuleInput> {
  return { manifest, digest, module: await meteredModule(core) };
}

/** What a launcher is started with. */
export type LauncherOptions = Pick<
  GuestOptions,
  'program' | 'args' | 'stdio' | 'environment' | 'directory' | 'fast'
>;

/**
 * Starts the launcher of a guest, which then waits for its plan.
 * @param control the launcher's end of its control socket
 */
export function startLauncher(options: LauncherOptions, control: number): ChildProcess {
  if (!existsSync(LAUNCHER)) throw new Error(`${LAUNCHER} is not built. Run \`npm run setup\`.`);
  return spawn(LAUNCHER, [options.program, ...options.args], {
    stdio: [...(options.stdio ?? ['inherit', 'inherit', 'inherit']), control],
    env: environmentOf(options),
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
}

/** The library comes first, and what the caller wants preloaded follows. */
function environmentOf({ environment = process.env, fast = false }: LauncherOptions): NodeJS.ProcessEnv {
  if (!fast) return environment;
  if (!existsSync(FAST_FRONTEND)) throw new Error(`${FAST_FRONTEND} is not built. Run \`npm run setup\`.`);
  const preloaded = [FAST_FRONTEND, environment.LD_PRELOAD].filter((path) => path).join(':');
  return { ...environment, LD_PRELOAD: preloaded };
}

/**
 * How the launcher ended, which is how its guest did.
 * @throws Error when it could not be started
 */
export function endOf(
  launcher: ChildProcess,
): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    launcher.once('error', (error) =>
      reject(new Error(`The launcher could not be started: ${error.message}`)),
    );
    launcher.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}
