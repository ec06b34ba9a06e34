import { readdirSync, readFileSync, statSync } from 'node:fs';
import { descendantsOf } from '../cli/postern.js';

/** native/protocol/window.h: where driver pages are mapped. */
const MAPPED_FIRST = 0x200000000000n;
const MAPPED_LAST = 0x20ffffffffffn;
/** linux/capability.h: what no guest may have, whatever it began with (native/launcher/launcher.c keeps the list of the others). */
const FORBIDDEN_CAPABILITIES = {
  SYS_ADMIN: 21,
  MKNOD: 27,
  SYS_PTRACE: 19,
  DAC_READ_SEARCH: 2,
  SYS_RAWIO: 17,
  SYS_MODULE: 16,
};
/** fcntl.h; Node has no name for it. */
const O_PATH = 0o10000000;
/** prctl(2): PR_GET_SECCOMP's number for a filter. */
const SECCOMP_FILTER = 2;

/** What must not be in a guest's hands. */
export interface Guarded {
  /** Character devices, as 'major:minor'; a number alone is every device of that major. */
  devices: readonly string[];
  /** The driver domain's memory file. */
  memory: { device: bigint; inode: bigint } | undefined;
}

/**
 * What the processes below a launcher have that they must not have, by the kernel's word about them: descriptors, mappings,
 * capabilities, and a filter that is gone. The launcher's own two processes are left out: they hold nothing of the guest's.
 */
export function lootOf(launcher: number, guarded: Guarded): string[] {
  return descendantsOf(launcher)
    .filter((pid) => nameOf(pid) !== 'launcher')
    .flatMap((pid) => [...descriptorsOf(pid, guarded), ...mappingsOf(pid, guarded), ...rightsOf(pid)]);
}

function nameOf(pid: number): string {
  return text(`/proc/${pid}/comm`).trim();
}

function descriptorsOf(pid: number, { devices, memory }: Guarded): string[] {
  return entries(`/proc/${pid}/task`).flatMap((tid) =>
    entries(`/proc/${pid}/task/${tid}/fd`).flatMap((fd) => {
      const found = describe(`/proc/${pid}/task/${tid}/fd/${fd}`);
      if (found === undefined) return [];
      const { isDevice, number, major, device, inode } = found;
      // A path is not an open file: no driver has been asked.
      if (isDevice && isPath(`/proc/${pid}/task/${tid}/fdinfo/${fd}`)) return [];
      if (isDevice && (devices.includes(number) || devices.includes(major)))
        return [`process ${pid} holds the device ${number} as descriptor ${fd}`];
      if (memory !== undefined && device === memory.device && inode === memory.inode)
        return [`process ${pid} holds the driver domain's memory as descriptor ${fd}`];
      return [];
    }),
  );
}

function isPath(information: string): boolean {
  const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(text(information))?.[1] ?? '0', 8);
  return (flags & O_PATH) !== 0;
}

interface Described {
  isDevice: boolean;
  number: string;
  major: string;
  device: bigint;
  inode: bigint;
}

function describe(path: string): Described | undefined {
  const found = attempted(() => statSync(path, { bigint: true }));
  if (found === undefined) return undefined;
  // makedev(3): the low 8 bits of the minor number, 12 of the major one.
  const major = Number((found.rdev >> 8n) & 0xfffn);
  const minor = Number((found.rdev & 0xffn) | ((found.rdev >> 12n) & 0xfff00n));
  return {
    isDevice: found.isCharacterDevice(),
    number: `${major}:${minor}`,
    major: String(major),
    device: found.dev,
    inode: found.ino,
  };
}

/** Driver pages belong in their range of addresses, where the filter keeps them as they are. */
function mappingsOf(pid: number, { memory }: Guarded): string[] {
  if (memory === undefined) return [];
  const lines = [...text(`/proc/${pid}/maps`).matchAll(/^(\w+)-\w+ \S+ \w+ \S+ (\d+)/gm)];
  return lines
    .filter(([, first, inode]) => {
      const address = BigInt(`0x${first}`);
      return BigInt(inode as string) === memory.inode && (address < MAPPED_FIRST || address > MAPPED_LAST);
    })
    .map(([, first]) => `process ${pid} maps the driver domain's memory at ${first}`);
}

/** In a user namespace of its own a process has all rights over what is in it, and that is its own. */
function rightsOf(pid: number): string[] {
  const status = text(`/proc/${pid}/status`);
  if (status === '') return [];
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`);
  const isOwn = attempted(() => statSync(`/proc/${pid}/ns/user`).ino) !== statSync('/proc/self/ns/user').ino;
  const forbidden = Object.entries(FORBIDDEN_CAPABILITIES).filter(
    ([, bit]) => !isOwn && ((effective >> BigInt(bit)) & 1n) === 1n,
  );
  const found = forbidden.map(([name]) => `process ${pid} has CAP_${name}`);
  if (!/^State:\s*Z/m.test(status) && !new RegExp(`^Seccomp:\\s*${SECCOMP_FILTER}$`, 'm').test(status))
    found.push(`process ${pid} runs without the filter`);
  if (!/^NoNewPrivs:\s*1$/m.test(status)) found.push(`process ${pid} may gain privileges by exec`);
  return found;
}

function entries(path: string): string[] {
  return attempted(() => readdirSync(path)) ?? [];
}

function text(path: string): string {
  return attempted(() => readFileSync(path, 'utf8')) ?? '';
}

/** Processes end while they are looked at. */
function attempted<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
