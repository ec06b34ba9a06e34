import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import type { ShadowReport } from '../../host/serve/protocol.js';
import { numbersAfter } from '../bench/programs.js';
import { until } from '../cli/postern.js';
import { policyPackage } from '../policy/support.js';
import { TestHost } from './in-process.js';
import { denies, loopsAfter, trapsAfter, variant } from './variants.js';

/** asm-generic/ioctls.h. */
const TIOCGWINSZ = 0x5413;
const NAME = 'TIOCGWINSZ (0x00005413)';
/** More decisions than a candidate is tried with before it judges. */
const CALLS = 2000;

describe.skipIf(!allOk(examineMachine(), 'required'))('a candidate in shadow mode', () => {
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

  /** A guest at work until the candidate's report is as expected; the report, and what failed in the guest. */
  async function observed(isEnough: (report: ShadowReport) => boolean): Promise<[ShadowReport, number]> {
    const guest = host.guest(program, String(CALLS));
    await guest.printed('ready');
    let report: ShadowReport | undefined;
    await until(async () => {
      [report] = await host.shadowReports();
      return report !== undefined && isEnough(report);
    }, 'the candidate to have judged enough');
    const { failed } = numbersAfter(await guest.end(), ['failed']);
    return [report as ShadowReport, failed];
  }

  it('that judges the same finds no difference', async () => {
    await host.shadow(variant(pty, 1));
    const [report, failed] = await observed(({ judged }) => judged > CALLS);
    expect(report).toMatchObject({ class: 'pty', differences: [] });
    expect(failed).toBe(0);
  });

  it('that is narrower tells what it would deny, and denies nothing', async () => {
    const candidate = denies(pty, TIOCGWINSZ);
    await host.shadow(candidate);
    const [{ differences }, failed] = await observed((report) => report.differences.length > 0);
    expect(differences).toEqual([
      {
        kind: 'narrower',
        command: NAME,
        inForce: { allow: expect.objectContaining({ head: 'from-driver' }) },
        candidate: { deny: expect.objectContaining({ errno: 'EPERM' }) },
        count: expect.any(Number),
        guest: 'guest',
      },
    ]);
    expect(failed).toBe(0);
    expect((await host.classes())[0]).toMatchObject({
      inForce: { digest: pty.digest },
      candidate: { digest: candidate.digest },
    });
  });

  it('that is wider tells what it would allow, and allows nothing', async () => {
    await host.install(denies(pty, TIOCGWINSZ));
    await host.shadow(variant(pty, 2));
    const [{ differences }, failed] = await observed((report) => report.differences.length > 0);
    expect(differences).toMatchObject([
      { kind: 'wider', command: NAME, inForce: { deny: { errno: 'EPERM' } } },
    ]);
    expect(failed).toBeGreaterThan(0);
  });

  it.each([
    ['traps', trapsAfter, 'trap'],
    ['never ends a decision', loopsAfter, 'fuel'],
  ])('that %s hurts nobody', async (_what, spoil, fault) => {
    await host.shadow(spoil(pty, CALLS));
    const [{ differences }, failed] = await observed((report) => report.differences.length > 0);
    expect(differences[0]).toMatchObject({
      kind: 'fault',
      candidate: { fault: expect.stringContaining(`${fault}: `) },
    });
    expect(failed).toBe(0);
    expect(host.records.filter((record) => 'quarantined' in record)).toEqual([]);
  });

  it('begins with guests that are at work, and ends when it is put in force', async () => {
    const candidate = variant(pty, 3);
    const guest = host.guest(program, '1');
    await guest.printed('ready');
    await host.shadow(candidate);
    await until(async () => ((await host.shadowReports())[0]?.judged ?? 0) > 100, 'it to judge');
    await host.shadow();
    expect(await host.install(candidate)).toMatchObject([{ failure: null, switched: ['guest'] }]);
    expect((await host.classes())[0]).toMatchObject({
      inForce: { digest: candidate.digest },
      candidate: null,
    });
    expect(await host.shadowReports()).toEqual([]);
    expect(await guest.end()).toContain('failed 0');
  });

  it('that is not fit is told of, and judges nothing', async () => {
    await host.shadow(trapsAfter(pty, 1));
    expect(await host.shadowReports()).toEqual([]);
    expect(host.records).toContainEqual(
      expect.objectContaining({ msg: 'a candidate is not fit to judge', candidate: expect.anything() }),
    );
  });
});
