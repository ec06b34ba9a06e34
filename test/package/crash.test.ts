/** A store is either old or new, whenever its writer is killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PolicyStore } from '../../host/package/store.js';
import type { TrustPolicy } from '../../host/package/trust.js';
import { ROOT } from '../../host/root.js';
import { CLASS, goodMembers, newSigner, signedBy, temporaryFolder, trusting } from './support.js';

const CHILD = join(ROOT, 'dist', 'test', 'package', 'install-child.js');
/** Rounds with a kill at a random moment, and the packages that each may get through. */
const ROUNDS = 12;
const PACKAGES = 150;
/** After the first installation of a round, the kill comes within this: some installations' time. */
const KILL_MS_MAX = 120;
/** Some dozens of processes are started one after the other, on a machine that may be busy. */
const TIMEOUT_MS = 240_000;
/** More changes to files than one installation makes. */
const STEPS_MAX = 60;

const { folder, remove } = temporaryFolder();
const alice = newSigner('alice');
const trustPath = join(folder, 'trust.json');
let trust: TrustPolicy;

beforeAll(async () => {
  trust = trusting([alice]);
  const classes = { [CLASS]: { keys: ['alice'], threshold: 1 } };
  writeFileSync(trustPath, JSON.stringify({ keys: { alice: { publicKey: alice.publicKey } }, classes }), {
    mode: 0o600,
  });
  for (let sequence = 2; sequence < 2 + PACKAGES; sequence++)
    writeFileSync(packagePath(sequence), signedBy(await goodMembers({ sequence }), alice));
});
afterAll(remove);

function packagePath(sequence: number): string {
  return join(folder, `${sequence}.postern`);
}

interface Run {
  /** The last installation that was told of. */
  told: number;
  killed: boolean;
}

/** Runs a child until it ends or, some time after it has told of its first installation, is killed. */
async function run(store: string, step: number, files: string[], killAfterMs?: number): Promise<Run> {
  const child = spawn(process.execPath, [CHILD, store, trustPath, String(step), ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const closed = once(child, 'close');
  if (killAfterMs !== undefined) {
    await once(child.stdout, 'data');
    await sleep(killAfterMs);
    child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  return { told: Number(out.trim().split('\n').at(-1) ?? 0), killed: signal === 'SIGKILL' };
}

/** The sequence number in force, of a store that must be sound: the state, the package, and what the class has seen. */
async function sound(path: string): Promise<number> {
  const store = new PolicyStore(path);
  const found = (await store.inForce()).policies.find(({ manifest }) => manifest.class === CLASS);
  const sequence = found?.entry?.sequence ?? 0;
  expect(found?.manifest.sequence).toBe(found?.entry === undefined ? 1 : sequence);
  if (store.exists) expect(store.state().classes[CLASS]?.sequenceHighest ?? 0).toBe(sequence);
  return sequence;
}

describe('a store whose writer is killed', () => {
  it(
    'is as it was before, or as it is after, whichever step of the change was the last',
    async () => {
      const template = join(folder, 'template');
      await new PolicyStore(template).install(packagePath(2), { trust });
      const seen = new Set<number>();
      let steps = 0;
      for (let killed = true; killed; ) {
        expect(steps).toBeLessThan(STEPS_MAX);
        const path = join(folder, 'step');
        cpSync(template, path, { recursive: true });
        ({ killed } = await run(path, ++steps, [packagePath(3)]));
        seen.add(await sound(path));
        // Nothing stands in the way of the next change, and nothing is left behind.
        await new PolicyStore(path).install(packagePath(4), { trust });
        expect(await sound(path)).toBe(4);
        expect(readdirSync(path).sort()).toEqual(['inbox', 'lock', 'packages', 'state.json']);
        expect(readdirSync(join(path, 'packages')).length).toBeLessThanOrEqual(3);
        rmSync(path, { recursive: true });
      }
      expect([...seen].sort()).toEqual([2, 3]);
      // Two files, each opened, written, brought to the disk, closed and given its name, and their folders.
      expect(steps).toBeGreaterThan(12);
    },
    TIMEOUT_MS,
  );

  it(
    'is new as soon as that has been told, and at random moments the last one or the next',
    async () => {
      const path = join(folder, 'random');
      let next = 2;
      for (let round = 0; round < ROUNDS && next < PACKAGES; round++) {
        const files = Array.from({ length: 2 + PACKAGES - next }, (_, index) => packagePath(next + index));
        const { told, killed } = await run(path, 0, files, Math.random() * KILL_MS_MAX);
        expect(killed).toBe(true);
        const sequence = await sound(path);
        expect([told, told + 1]).toContain(sequence);
        next = sequence + 1;
      }
      expect(next).toBeGreaterThan(ROUNDS);
    },
    TIMEOUT_MS,
  );
});
