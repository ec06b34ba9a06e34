import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { CHANNEL_BYTES } from '../../host/driver-vm/hello.js';
import { type LocalDomain, startLocalDomain } from '../../host/driver-vm/local-domain.js';
import { childrenOf, isAlive } from './processes.js';

let domain: LocalDomain | undefined;

async function start(): Promise<LocalDomain> {
  domain = await startLocalDomain({ log: () => {} });
  return domain;
}

afterEach(async () => {
  await domain?.close();
  domain = undefined;
});

describe('the local driver domain', () => {
  it('offers pseudo terminals', async () => {
    const { channels, memory, pages, channelEvents, channelsAddress, devices } = await start();
    expect(memory.bytes).toBe(channels * CHANNEL_BYTES);
    expect(pages).toBeNull();
    expect(channelEvents).toHaveLength(channels);
    expect(channelsAddress > 0n).toBe(true);
    const list = await devices();
    expect(list.find(({ name }) => name === 'ptmx')).toMatchObject({ major: 5, minor: 2, subsystem: 'tty' });
    expect(list.find(({ name }) => name === 'pts')).toMatchObject({ major: 136, sysfs: '' });
  });

  it('answers several requests at once in their order', async () => {
    const { devices } = await start();
    const lists = await Promise.all([devices(), devices(), devices()]);
    expect(lists[1]).toEqual(lists[0]);
    expect(lists[2]).toEqual(lists[0]);
  });

  it('runs no programs', async () => {
    const { run } = await start();
    let output = '';
    const end = await run(['true'], (chunk) => {
      output += chunk.toString();
    });
    expect(end).toEqual({ code: 127, signal: null });
    expect(output).toMatch("without the host's root");
  });

  it('is locked down', async () => {
    const { pid } = await start();
    const agents = childrenOf(pid).flatMap((child) => [child, ...childrenOf(child)]);
    expect(agents.length).toBeGreaterThanOrEqual(2);
    const CAP_NET_ADMIN = 1n << 12n;
    for (const agent of agents) {
      const status = readFileSync(`/proc/${agent}/status`, 'utf8');
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
      expect(status).toMatch(/^CapBnd:\t0{16}$/m);
      const capabilities = BigInt(`0x${status.match(/^CapEff:\t(\w+)$/m)?.[1]}`);
      expect(capabilities & ~CAP_NET_ADMIN).toBe(0n);
      expect(readdirSync(`/proc/${agent}/root`)).toEqual(['dev']);
    }
  });

  it('leaves nothing when it is closed', async () => {
    const { pid, close } = await start();
    const all = [pid, ...childrenOf(pid).flatMap((child) => [child, ...childrenOf(child)])];
    await close();
    expect(all.filter(isAlive)).toEqual([]);
  });

  it('says why it has ended', async () => {
    const { pid, onExit, devices } = await start();
    const [inner = 0] = childrenOf(pid);
    const reason = new Promise<string>((resolve) => onExit(resolve));
    process.kill(pid, 'SIGKILL');
    expect(await reason).toBe('the backend agent was killed by SIGKILL');
    await expect(devices()).rejects.toThrow('The local driver domain has ended');
    await expect.poll(() => isAlive(inner)).toBe(false);
  });
});
