import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { ServedHost } from '../serve/support.js';
import { descendantsOf, postern, RunningPostern, until } from './postern.js';

const isRoot = process.getuid?.() === 0;
const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

/** Bits of linux/capability.h. */
const BITS = { KILL: 5, SETPCAP: 8, SYS_MODULE: 16, SYS_RAWIO: 17, SYS_PTRACE: 19, SYS_ADMIN: 21, MKNOD: 27 };
/** What a host of a driver VM keeps: the numbers of host/privileges.ts. */
const OF_A_HOST = [1, 2, 5, 6, 7, 8, 19];

beforeAll(() => {
  // The first start boots the VM; later ones resume its snapshot.
  if (isRoot && hasDriverVm) expect(postern(['run', '--alone', '--', 'true']).status).toBe(0);
});
let ends: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
});

interface Rights {
  permitted: bigint;
  bounding: bigint;
  noNewPrivs: boolean;
  seccomp: number;
}

/** Of a process, or one of its threads, by proc_pid_status(5). */
function rightsOf(path: string): Rights {
  const status = readFileSync(`${path}/status`, 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
  return {
    permitted: BigInt(`0x${field('CapPrm')}`) | BigInt(`0x${field('CapEff')}`),
    bounding: BigInt(`0x${field('CapBnd')}`),
    noNewPrivs: field('NoNewPrivs') === '1',
    seccomp: Number(field('Seccomp')),
  };
}

function bitsOf(set: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (set >> BigInt(bit)) & 1n);
}

const threadsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map((tid) => `/proc/${pid}/task/${tid}`);
const commOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();

/** A guest that sleeps, and what its `postern run` has started. */
async function sleepingGuest(...options: string[]): Promise<{ postern: number; below: number[] }> {
  const running = new RunningPostern(['run', ...options, '--', 'sh', '-c', 'echo ready; exec sleep 600']);
  ends.push(async () => {
    running.child.kill('SIGTERM');
    await running.end();
  });
  await running.printed('ready');
  const postern = running.child.pid as number;
  return { postern, below: descendantsOf(postern) };
}

describe.skipIf(!isRoot || !allOk(checks, 'required'))(
  'once it is set up (needs root, to have what is given up)',
  () => {
    it.skipIf(!hasDriverVm)(
      'every thread of a host has what mediating and a new QEMU take (needs a driver VM)',
      async () => {
        const { postern: host } = await sleepingGuest('--alone');
        const threads = threadsOf(host).map((path) => ({ path, ...rightsOf(path) }));
        expect(threads.length).toBeGreaterThan(5);
        for (const { path, permitted, bounding, noNewPrivs } of threads) {
          expect({
            path,
            noNewPrivs,
            beyond: bitsOf(permitted).filter((bit) => !OF_A_HOST.includes(bit)),
          }).toEqual({
            path,
            noNewPrivs: true,
            beyond: [],
          });
          expect(bitsOf(bounding).filter((bit) => !OF_A_HOST.includes(bit))).toEqual([]);
        }
      },
    );

    it('who waits for a guest has nothing, and who ends it the right to end it', async () => {
      const { postern: host, below } = await sleepingGuest('--driver-vm', 'local', '--device', 'ptmx');
      const launchers = below.filter((pid) => commOf(pid) === 'launcher');
      const rights = launchers
        .map((pid) => rightsOf(`/proc/${pid}`))
        .map(({ permitted }) => bitsOf(permitted));
      expect(rights).toEqual([[], [BITS.KILL]]);
      for (const pid of launchers) expect(rightsOf(`/proc/${pid}`).noNewPrivs).toBe(true);
      const guest = below.find((pid) => commOf(pid) === 'sleep') as number;
      const { permitted, bounding, noNewPrivs, seccomp } = rightsOf(`/proc/${guest}`);
      expect({ noNewPrivs, seccomp }).toEqual({ noNewPrivs: true, seccomp: 2 });
      for (const bit of [BITS.SYS_ADMIN, BITS.SYS_PTRACE, BITS.MKNOD, BITS.SYS_MODULE, BITS.SYS_RAWIO])
        expect(bitsOf(permitted | bounding)).not.toContain(bit);
      // A new agent needs namespaces and device nodes; nothing of this host loads modules or reaches for hardware.
      for (const path of threadsOf(host)) {
        expect(bitsOf(rightsOf(path).permitted)).not.toContain(BITS.SYS_MODULE);
        expect(bitsOf(rightsOf(path).permitted)).not.toContain(BITS.SYS_RAWIO);
      }
    });

    it('the agent of the local domain has at most tunnels, and its system calls are listed', async () => {
      const { below } = await sleepingGuest('--driver-vm', 'local', '--device', 'ptmx');
      const agents = below.filter((pid) => /^(postern-agent|postern-contro|backend-)/.test(commOf(pid)));
      expect(agents.length).toBeGreaterThan(1);
      const NET_ADMIN = 12;
      for (const pid of agents) {
        const { permitted, bounding, noNewPrivs, seccomp } = rightsOf(`/proc/${pid}`);
        expect(bitsOf(permitted).filter((bit) => bit !== NET_ADMIN)).toEqual([]);
        expect(bitsOf(bounding)).toEqual([]);
        // The one that only waits for the others has no filter, and no right.
        if (seccomp !== 2) expect(bitsOf(permitted)).toEqual([]);
        else expect(noNewPrivs).toBe(true);
      }
    });

    it.skipIf(!hasDriverVm)(
      'a QEMU has no capability, a sandbox, and a network of its own (needs a driver VM)',
      async () => {
        const { below } = await sleepingGuest('--alone');
        const qemu = below.find((pid) => commOf(pid).startsWith('qemu-system')) as number;
        expect(rightsOf(`/proc/${qemu}`)).toEqual({
          permitted: 0n,
          bounding: 0n,
          noNewPrivs: true,
          seccomp: 2,
        });
        const devices = readFileSync(`/proc/${qemu}/net/dev`, 'utf8').trim().split('\n').slice(2);
        expect(devices.map((line) => line.trim().split(':')[0])).toEqual(['lo']);
        expect(readFileSync(`/proc/${qemu}/cmdline`, 'utf8')).not.toMatch(
          /\0-(nic|net|netdev|drive|virtfs)\0|virtio-net/,
        );
      },
    );

    it('a command whose guest is another host’s has nothing, and the host goes on', async () => {
      const host = await ServedHost.start();
      ends.push(() => host.close());
      const guest = host.guest('sh', '-c', 'echo ready; exec sleep 600');
      ends.push(async () => {
        guest.child.kill('SIGTERM');
        await guest.end();
      });
      await guest.printed('ready');
      // The guest may begin before its command has given up the last of them.
      const left = (): number[] =>
        threadsOf(guest.child.pid as number).flatMap((path) => bitsOf(rightsOf(path).permitted));
      await until(() => left().length === 0, 'the command to have no capability');
      // A host whose agent ends starts another, with what it has kept.
      const agent = descendantsOf(host.pid).find((pid) => commOf(pid) === 'postern-agent') as number;
      process.kill(agent, 'SIGKILL');
      const script = 'import pty; master, slave = pty.openpty(); print("served")';
      await until(() => host.run('python3', '-c', script).out.includes('served'), 'a new agent to serve');
    });
  },
);
