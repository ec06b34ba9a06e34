import { readdirSync, readFileSync } from 'node:fs';
import { native } from '../../host/native.js';
import { descendantsOf } from '../cli/postern.js';

const BYTES_PER_MIB = 1 << 20;
const KIB_PER_MIB = 1 << 10;

/** What the host and its driver domains hold of this machine at one moment. */
export interface Holdings {
  /** MiB of the host: resident, of that its own; and its own by who has it. */
  rss: number;
  anonymous: number;
  jsHeap: number;
  arrayBuffers: number;
  nativeHeap: number;
  /** MiB of QEMU's own, and with the VM's memory. */
  qemuAnonymous: number;
  qemuRss: number;
  /** MiB of the local domain's processes' own. */
  agentAnonymous: number;
  descriptors: number;
  threads: number;
  mounts: number;
  sharedMemory: number;
}

/** The driver domains' processes. */
export interface DomainProcesses {
  qemu: number | undefined;
  agent: number | undefined;
}

/** Looks at this process, which is the host, and at the driver domains'. */
export function measure({ qemu, agent }: DomainProcesses): Holdings {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const own = statusOf(process.pid);
  const vm = qemu === undefined ? undefined : statusOf(qemu);
  const local = agent === undefined ? [] : [agent, ...descendantsOf(agent)].map(statusOf);
  return {
    rss: own.rss,
    anonymous: own.anonymous,
    jsHeap: heapUsed / BYTES_PER_MIB,
    arrayBuffers: arrayBuffers / BYTES_PER_MIB,
    nativeHeap: native.nativeHeap().inUse / BYTES_PER_MIB,
    qemuAnonymous: vm?.anonymous ?? Number.NaN,
    qemuRss: vm?.rss ?? Number.NaN,
    agentAnonymous: local.reduce((sum, { anonymous }) => sum + anonymous, 0),
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').length - 1,
    sharedMemory: readdirSync('/dev/shm').length,
  };
}

/** proc_pid_status(5), in MiB; zeroes for a process that has ended. */
function statusOf(pid: number): { rss: number; anonymous: number } {
  const text = textOf(`/proc/${pid}/status`);
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / KIB_PER_MIB;
  return { rss: field('VmRSS'), anonymous: field('RssAnon') };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
