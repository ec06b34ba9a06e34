import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces, release } from 'node:os';
import { presentKernel } from '../driver-vm/kernel.js';
import { loadPolicies } from '../policy/store.js';
import { installationCommand, missingDebianPackages } from '../setup/debian-packages.js';
import { missingNativeOutputs } from '../setup/native-builds.js';

/** Guests hold their guarded files in descriptors up to 1023 (native/protocol/window.h), so they must be allowed to have 1024. */
const DESCRIPTORS_NEEDED = 1024;
/** Linux 5.19 brought SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, without which a signal may tear an operation in two. */
const KERNEL_WITH_WAIT_KILLABLE_RECV = [5, 19] as const;
/** Linux 6.6 brought SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, which makes a trapped call about four times as quick. */
const KERNEL_WITH_SYNC_WAKE_UP = [6, 6] as const;
/** The probes end within milliseconds, or hang. */
const PROBE_TIMEOUT_MS = 5000;

/** `required`: no guest can run without it. `driver-vm`: only the driver VM needs it. `optional`: it only helps. */
export type Need = 'required' | 'driver-vm' | 'optional';

export interface Check {
  name: string;
  need: Need;
  ok: boolean;
  /** What was found. */
  found: string;
  /** What to do about it, '' when nothing. */
  advice: string;
}

/** Looks at everything that Postern needs from this machine, without changing anything. */
export function examineMachine(): Check[] {
  return [
    platform(),
    namespaces(),
    userNotification(),
    waitKillable(),
    syncWakeUp(),
    ptraceScope(),
    loopback(),
    descriptorLimit(),
    nativeParts(),
    policyModules(),
    debianPackages(),
    qemu(),
    kernelPackage(),
    kvm(),
  ];
}

/** Whether every check of `need` has passed. */
export function allOk(checks: readonly Check[], need: Need): boolean {
  return checks.every((check) => check.ok || check.need !== need);
}

function check(name: string, need: Need, ok: boolean, found: string, advice: string): Check {
  return { name, need, ok, found, advice: ok ? '' : advice };
}

function platform(): Check {
  const ok = process.platform === 'linux' && process.arch === 'x64';
  const found = `${process.platform} ${process.arch}, kernel ${release()}, Node ${process.version}`;
  return check(
    'platform',
    'required',
    ok,
    found,
    'Postern traps system calls of x86-64 Linux: run it there.',
  );
}

/** Root, or a kernel that lets everyone make user namespaces; tried, not believed. */
function namespaces(): Check {
  const isRoot = process.getuid?.() === 0;
  const flags = isRoot
    ? ['--mount', '--pid', '--fork']
    : ['--user', '--map-root-user', '--mount', '--pid', '--fork'];
  const probe = spawnSync('unshare', [...flags, 'true'], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS });
  const who = isRoot ? 'root' : 'user namespaces';
  const reason = probe.error?.message ?? probe.stderr?.trim();
  return check(
    'namespaces',
    'required',
    probe.status === 0,
    probe.status === 0 ? who : `${who}: refused (${reason})`,
    'Run as root, or let users make user namespaces (sysctl kernel.unprivileged_userns_clone=1).',
  );
}

function userNotification(): Check {
  const actions = readText('/proc/sys/kernel/seccomp/actions_avail').trim();
  return check(
    'seccomp user notification',
    'required',
    actions.split(' ').includes('user_notif'),
    actions === '' ? 'seccomp is not there' : actions,
    'Use a kernel of Linux 5.0 or later with CONFIG_SECCOMP_FILTER.',
  );
}

function waitKillable(): Check {
  return kernelFeature('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', 'required', KERNEL_WITH_WAIT_KILLABLE_RECV);
}

function syncWakeUp(): Check {
  return kernelFeature('SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP', 'optional', KERNEL_WITH_SYNC_WAKE_UP);
}

function kernelFeature(name: string, need: Need, [major, minor]: readonly [number, number]): Check {
  const [haveMajor = 0, haveMinor = 0] = release()
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  const ok = haveMajor > major || (haveMajor === major && haveMinor >= minor);
  const found = `by the kernel's version, ${release()}`;
  return check(name, need, ok, found, `Linux ${major}.${minor} or later has it.`);
}

/** Yama can forbid what the mediator does to its guests: read their memory, seize their threads for mmap. */
function ptraceScope(): Check {
  const text = readText('/proc/sys/kernel/yama/ptrace_scope').trim();
  const scope = text === '' ? 0 : Number.parseInt(text, 10);
  const highest = process.getuid?.() === 0 ? 2 : 1;
  const found = text === '' ? 'Yama is not there' : `kernel.yama.ptrace_scope is ${scope}`;
  return check('ptrace', 'required', scope <= highest, found, `sysctl kernel.yama.ptrace_scope=${highest}`);
}

/** Placeholders are ends of loopback TCP pairs. */
function loopback(): Check {
  const ok = networkInterfaces().lo?.some(({ address }) => address === '127.0.0.1') ?? false;
  return check(
    'loopback',
    'required',
    ok,
    ok ? 'lo is up' : 'lo is down or has no 127.0.0.1',
    'ip link set lo up',
  );
}

function descriptorLimit(): Check {
  const hard = readText('/proc/self/limits').match(/^Max open files\s+\S+\s+(\S+)/m)?.[1] ?? '0';
  const limit = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number.parseInt(hard, 10);
  const ok = limit >= DESCRIPTORS_NEEDED;
  const advice = `Raise the hard limit: ulimit -Hn ${DESCRIPTORS_NEEDED}`;
  return check('RLIMIT_NOFILE', 'required', ok, `hard limit ${hard}, ${DESCRIPTORS_NEEDED} needed`, advice);
}

function nativeParts(): Check {
  const missing = missingNativeOutputs();
  const found = missing.length === 0 ? 'built' : `missing: ${missing.join(', ')}`;
  return check('native parts', 'required', missing.length === 0, found, 'npm run setup');
}

function policyModules(): Check {
  try {
    const found = loadPolicies().map(({ manifest }) => `${manifest.name} ${manifest.version}`);
    return check('policy modules', 'required', true, found.join(', '), '');
  } catch (error) {
    return check('policy modules', 'required', false, (error as Error).message, 'npm run setup');
  }
}

function debianPackages(): Check {
  const missing = missingDebianPackages();
  const found =
    missing.length === 0 ? 'all installed' : `missing: ${missing.map(({ name }) => name).join(', ')}`;
  return check('Debian packages', 'optional', missing.length === 0, found, installationCommand(missing));
}

function qemu(): Check {
  const probe = spawnSync('qemu-system-x86_64', ['--version'], {
    encoding: 'utf8',
    timeout: PROBE_TIMEOUT_MS,
  });
  const version = probe.stdout?.split('\n')[0] ?? '';
  const advice = 'apt-get install -y --no-install-recommends qemu-system-x86';
  return check('QEMU', 'driver-vm', probe.status === 0, version || 'not found', advice);
}

function kernelPackage(): Check {
  const kernel = presentKernel();
  const found = kernel === undefined ? 'not fetched' : `${kernel.release}, in .cache/kernel`;
  return check('kernel package', 'driver-vm', kernel !== undefined, found, 'npm run setup');
}

/** That /dev/kvm opens proves little (nested virtualisation may hang a guest kernel), so emulation stays the default. */
function kvm(): Check {
  const found = existsSync('/dev/kvm') ? 'present, not used by default' : 'absent, not needed';
  return check('KVM', 'optional', true, found, '');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
