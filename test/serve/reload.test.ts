import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { loadVectors } from '../../host/policy/vectors.js';
import { numbersAfter } from '../bench/programs.js';
import { until } from '../cli/postern.js';
import { policyPackage } from '../policy/support.js';
import { TestHost } from './in-process.js';
import { absurd, denies, loopsAfter, manifested, trapsAfter, variant } from './variants.js';

const SWAPS = 8;
const GUESTS = 3;
/** asm-generic/ioctls.h. */
const TIOCGWINSZ = 0x5413;
/** Decisions of a module before it misbehaves: more than its trial takes, less than a guest makes at once. */
const CALLS = 50_000;

const isAble = allOk(examineMachine(), 'required');

describe.skipIf(!isAble)('a module that another replaces in a running host', () => {
  let pty: PolicyPackage;
  let host: TestHost;
  const program = compileGuestProgram('reload', 'bench');

  beforeAll(async () => {
    pty = await policyPackage('pty');
  });
  beforeEach(async () => {
    host = await TestHost.start([pty]);
  });
  afterEach(() => host.close());

  /** Guests at work until `during` has ended; what they counted. */
  async function underLoad(
    guests: number,
    during: () => Promise<void>,
  ): Promise<{ operations: number; failed: number }> {
    const running = Array.from({ length: guests }, () => host.guest(program, '2000'));
    for (const guest of running) await guest.printed('ready');
    await during();
    const sums = { operations: 0, failed: 0 };
    for (const guest of running) {
      const { operations, failed } = numbersAfter(await guest.end(), ['operations', 'failed']);
      sums.operations += operations;
      sums.failed += failed;
    }
    return sums;
  }

  it('fails no operation of guests at work, whose files and handles stay', async () => {
    const versions = Array.from({ length: SWAPS }, (_, number) => variant(pty, number));
    const { operations, failed } = await underLoad(GUESTS, async () => {
      for (const version of versions) {
        const [done] = await host.install(version);
        expect(done).toMatchObject({ class: 'pty', failure: null, kept: [] });
        expect(done?.switched).toHaveLength(GUESTS);
      }
      for (const { modules } of await host.guests())
        expect(modules).toMatchObject([{ class: 'pty', digest: versions.at(-1)?.digest }]);
    });
    expect(failed).toBe(0);
    expect(operations).toBeGreaterThan(GUESTS * 2000);
    expect(await host.classes()).toMatchObject([
      {
        class: 'pty',
        inForce: { digest: versions.at(-1)?.digest },
        previous: { digest: versions.at(-2)?.digest },
      },
    ]);
  });

  it.each([
    ['traps', (good: PolicyPackage) => trapsAfter(good, CALLS), 'trap'],
    ['never ends a decision', (good: PolicyPackage) => loopsAfter(good, CALLS), 'fuel'],
    ['asks for what it may not', (good: PolicyPackage) => absurd(good, TIOCGWINSZ), 'plan'],
  ])('that %s gives its place back, and no operation fails', async (_what, spoil, fault) => {
    const bad = spoil(pty);
    const { failed } = await underLoad(GUESTS, async () => {
      expect(await host.install(bad)).toMatchObject([{ failure: null, kept: [] }]);
      await until(
        () => host.records.some(({ quarantined }) => quarantined === bad.manifest.version),
        'the quarantine',
      );
      for (const { modules } of await host.guests()) expect(modules).toMatchObject([{ digest: pty.digest }]);
    });
    expect(failed).toBe(0);
    expect(await host.classes()).toMatchObject([
      { inForce: { digest: pty.digest }, previous: null, quarantined: [{ digest: bad.digest }] },
    ]);
    expect(host.records).toContainEqual(expect.objectContaining({ policy: 'pty', fault }));
    expect(host.quarantined).toEqual([['pty', bad.digest, expect.stringContaining(`${fault}: `)]]);
    expect(await host.install(bad)).toMatchObject([
      { failure: 'It misbehaved here before, and is quarantined.', switched: [] },
    ]);
  });

  it('that misbehaves once it was gone back to gives its place to the version before that', async () => {
    const [newest, restored] = [trapsAfter(pty, 2 * CALLS), trapsAfter(pty, CALLS)];
    const oldest = variant(pty, 1);
    host.before = (_class, digest) => (digest === restored.digest ? oldest : undefined);
    await host.install(restored);
    const { failed } = await underLoad(1, async () => {
      await host.install(newest);
      await until(() => host.quarantined.length === 2, 'both to misbehave');
    });
    // What found the first was judged again; what found the second came while its successor was made ready.
    expect(failed).toBeGreaterThan(0);
    expect(host.quarantined.map(([, digest]) => digest)).toEqual([newest.digest, restored.digest]);
    expect(await host.classes()).toMatchObject([
      {
        inForce: { digest: oldest.digest },
        quarantined: [{ digest: newest.digest }, { digest: restored.digest }],
      },
    ]);
  });

  it('that misbehaves with nothing before it stays, denies what it can’t judge, and the host says why', async () => {
    const bad = trapsAfter(pty, CALLS);
    await host.close();
    host = await TestHost.start([bad]);
    const { failed } = await underLoad(1, () =>
      until(async () => (await host.classes())[0]?.failure !== null, 'the host to know'),
    );
    expect(failed).toBeGreaterThan(0);
    const [state] = await host.classes();
    expect(state).toMatchObject({ inForce: { digest: bad.digest }, previous: null, quarantined: [] });
    expect(state?.failure).toMatch(
      /^pty \S+ misbehaves \(trap: .*\), and nothing takes its place: There is no version before it\. .*EIO\. Install/,
    );
    expect(host.quarantined).toEqual([]);
    expect(await host.install(pty)).toMatchObject([{ failure: null }]);
    expect((await host.classes())[0]).toMatchObject({ inForce: { digest: pty.digest }, failure: null });
  });

  it('is not put back by a version that closes a hole of it: operations fail instead', async () => {
    const final = manifested(trapsAfter(pty, CALLS), { fallback: 'none' });
    const { failed } = await underLoad(1, async () => {
      await host.install(final);
      await until(() => host.records.some(({ fault }) => fault === 'trap'), 'the fault');
    });
    expect(failed).toBeGreaterThan(0);
    expect(await host.classes()).toMatchObject([{ inForce: { digest: final.digest }, quarantined: [] }]);
  });

  it.each([
    [
      'traps at once',
      (good: PolicyPackage) => trapsAfter(good, 1),
      "The module can't judge open with arguments of zeroes",
    ],
    [
      'is of another class',
      (good: PolicyPackage) => renamed(good),
      "The module says that it is of the class 'pty'",
    ],
    [
      'is no module',
      (good: PolicyPackage) => ({ ...good, core: good.core.subarray(0, 99), digest: 'x' }),
      '',
    ],
  ])('stays in force when the new one %s', async (_what, spoil, failure) => {
    const bad = spoil(pty);
    const { failed } = await underLoad(1, async () => {
      const [done] = await host.install(bad);
      expect(done).toMatchObject({ switched: [], failure: expect.stringContaining(failure) });
    });
    expect(failed).toBe(0);
    expect((await host.classes())[0]).toMatchObject({ inForce: { digest: pty.digest } });
  });

  it('stays in force when the new one fails its own test vectors', async () => {
    const bad = { ...denies(pty, TIOCGWINSZ), vectors: loadVectors('pty') };
    const [done] = await host.install(bad);
    expect(done?.failure).toMatch(
      /^The module fails \d+ of its \d+ test vectors, the first is '.*TIOCGWINSZ.*': expected/,
    );
    expect((await host.classes())[0]).toMatchObject({ inForce: { digest: pty.digest } });
    const good = { ...variant(pty, 1), vectors: loadVectors('pty') };
    expect(await host.install(good)).toMatchObject([{ failure: null }]);
  });

  it('stays with guests whose open files the new one cannot take over, and with them alone', async () => {
    const other = manifested(variant(pty, 1), { state: 1 });
    const { failed } = await underLoad(1, async () => {
      expect(await host.install(other)).toMatchObject([
        {
          failure: null,
          switched: [],
          kept: [{ guest: 'guest', reason: expect.stringContaining('files open') }],
        },
      ]);
      const later = host.guest(program, '1000');
      await later.printed('ready');
      const digests = (await host.guests()).map(({ modules }) => modules[0]?.digest);
      expect(digests).toEqual([pty.digest, other.digest]);
      expect(await later.end()).toContain('failed 0');
    });
    expect(failed).toBe(0);
  });
});

/** The same module under another class's name. */
function renamed(good: PolicyPackage): PolicyPackage {
  return manifested(good, { class: 'terminals', name: 'terminals' });
}
