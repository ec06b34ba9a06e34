import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DecisionLog, type DecisionLogOptions } from '../../host/audit/log.js';
import { type LoggedDecision, replay } from '../../host/audit/replay.js';
import { Ring, ringMemory } from '../../host/audit/ring.js';
import { DecisionTap, type TappedModule } from '../../host/audit/tap.js';
import { verifyLog } from '../../host/audit/verify.js';
import { type Call, PolicyInstance } from '../../host/policy/abi.js';
import { meteredModule } from '../../host/policy/meter.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import * as m from '../../policies/__generated__/media.js';
import { bytesWith, callOf, EFAULT, policyPackage } from '../policy/support.js';
import { denies } from '../serve/variants.js';

const TIOCSWINSZ = 0x5414;
const TIOCSTI = 0x5412;
const { MEDIA_IOC_G_TOPOLOGY } = m;
const SEGMENT_BYTES = 4000;
/** The denied operations that fill a ring's reserve and more: a record is some hundred bytes. */
const MANY_DENIALS = 20_000;

let folder: string;
let path: string;
let pty: PolicyPackage;
let instance: PolicyInstance;
let module: TappedModule;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-audit-'));
  path = join(folder, 'decisions.log');
  pty = await policyPackage('pty');
  instance = new PolicyInstance(await meteredModule(pty.core), pty.manifest, () => EFAULT);
  module = { info: instance.describe(), input: { manifest: pty.manifest, digest: pty.digest } };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Opened {
  log: DecisionLog;
  tap: DecisionTap;
  troubles: string[];
}

async function opened(options: Partial<DecisionLogOptions> = {}): Promise<Opened> {
  const troubles: string[] = [];
  const onTrouble = (text: string, lines: string[] = []): void => void troubles.push(text, ...lines);
  const log = await DecisionLog.open({ path, onTrouble, ...options });
  return { log, tap: new DecisionTap(log.tapFor('guest', 7)), troubles };
}

/** One operation as a mediator tells it. */
function operate(
  tap: DecisionTap,
  fields: Partial<Call>,
  head: Uint8Array = new Uint8Array(),
  outcome = 0n,
): void {
  const call = callOf(fields);
  const verdict = instance.admit(call, head);
  tap.decided(module, call, head, verdict, process.pid);
  if (verdict.tag === 'allow') tap.done(call, process.pid, outcome);
}

const allowed = (tap: DecisionTap): void =>
  operate(tap, { command: TIOCSWINSZ }, Uint8Array.of(24, 0, 80, 0, 0, 0, 0, 0));
const denied = (tap: DecisionTap): void => operate(tap, { command: TIOCSTI });

const linesOf = (file = path): LoggedDecision[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LoggedDecision);
const segments = (): string[] => {
  const older = Array.from({ length: 100 }, (_, index) => `${path}.${index + 1}`).filter(existsSync);
  return [...older, path];
};

describe('a decision log', () => {
  it('has a line for each decision, with who asked for what, by which module, and what came of it', async () => {
    const { log, tap } = await opened();
    allowed(tap);
    denied(tap);
    tap.refused(undefined, 0, 0, 24, 'window-full');
    tap.close();
    const head = await log.close();
    const [segment, ...rest] = linesOf();
    expect(segment).toMatchObject({ kind: 'segment', segment: 1, line: 1 });
    expect(rest.map(({ kind }) => kind)).toEqual(['decision', 'decision', 'refusal', 'ended']);
    expect(rest[0]).toMatchObject({
      ...{ guest: 'guest', guestNumber: 7, process: process.pid, class: 'pty' },
      ...{ command: 'TIOCSWINSZ', commandNumber: '0x00005414', headBytes: 8, verdict: 'allow', outcome: 0 },
      module: { name: 'pty', version: pty.manifest.version, digest: pty.digest },
      allow: { head: 'to-driver', grants: [] },
    });
    expect(rest[0]?.program).toBe(readFileSync('/proc/self/comm', 'utf8').trim());
    expect(rest[0]).not.toHaveProperty('arguments');
    expect(rest[1]).toMatchObject({ verdict: 'deny', outcome: 'EPERM', deny: { errno: 'EPERM' } });
    expect(rest[2]).toMatchObject({ reason: 'window-full', outcome: 'EMFILE' });
    expect(rest[3]).toMatchObject({ allowed: 1, denied: 2, dropped: 0 });
    expect(verifyLog([path], head)).toMatchObject({ faults: [], lines: 5, head });
    expect(JSON.parse(readFileSync(`${path}.head`, 'utf8'))).toEqual(head);
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  it('names the field that a denial is about', async () => {
    const { log, tap } = await opened();
    const media = await policyPackage('media');
    const strict = new PolicyInstance(await meteredModule(media.core), media.manifest, () => EFAULT);
    const call = callOf({ command: MEDIA_IOC_G_TOPOLOGY });
    const head = bytesWith(72, [
      [m.media_v2_topology.num_pads, 513],
      [m.media_v2_topology.ptr_pads, 0x5000_0000n],
    ]);
    const described = { info: strict.describe(), input: { manifest: media.manifest, digest: media.digest } };
    tap.decided(described, call, head, strict.admit(call, head), process.pid);
    tap.close();
    await log.close();
    expect(linesOf()[1]?.deny).toMatchObject({
      field: m.media_v2_topology.num_pads,
      fieldName: 'media_v2_topology.num_pads',
    });
    expect(verifyLog([path]).faults).toEqual([]);
  });

  it('has argument bytes only where they are asked for, and not those that are redacted', async () => {
    const { log, tap } = await opened({ tellsArguments: true, redact: ['TIOCSTI'] });
    allowed(tap);
    denied(tap);
    operate(tap, { operation: 'write', length: 6n }, new TextEncoder().encode('secret'));
    tap.close();
    await log.close();
    const [, first, second, third] = linesOf();
    expect(first?.arguments).toEqual({
      head: { bytes: 8, at: { 0: '180050' } },
      memory: [],
    });
    expect(second?.arguments).toEqual({ redacted: true });
    expect(third?.arguments).toEqual({ redacted: true });
    expect(readFileSync(path, 'utf8')).not.toContain(Buffer.from('secret').toString('hex'));
  });

  it('has one of so many allowed operations, and every denial', async () => {
    const { log, tap } = await opened({ sample: 10 });
    for (let turn = 0; turn < 100; turn++) {
      allowed(tap);
      denied(tap);
    }
    tap.close();
    await log.close();
    const decisions = linesOf().filter(({ kind }) => kind === 'decision');
    expect(decisions.filter(({ verdict }) => verdict === 'allow')).toHaveLength(10);
    expect(decisions.filter(({ verdict }) => verdict === 'deny')).toHaveLength(100);
  });

  it('goes on in further segments and when it is opened again, in one chain', async () => {
    for (let run = 0; run < 3; run++) {
      const { log, tap } = await opened({ segmentBytesMax: SEGMENT_BYTES });
      for (let turn = 0; turn < 200; turn++) allowed(tap);
      tap.close();
      await log.close();
    }
    const files = segments();
    expect(files.length).toBeGreaterThan(3);
    const report = verifyLog([...files].reverse());
    expect(report).toMatchObject({
      faults: [],
      first: 1,
      files,
      kinds: { continued: 2, decision: 600, ended: 3 },
    });
    expect(verifyLog(files.slice(1)).faults).toEqual([]);
    expect(verifyLog(files.slice(1)).first).toBeGreaterThan(1);
    const gap = verifyLog([files[0] as string, ...files.slice(2)]);
    expect(gap.faults[0]?.what).toMatch(/lines? \d+ .*ha(s|ve) been removed/);
  });

  it('whose last line is torn goes on behind the last whole one, and says so', async () => {
    const first = await opened();
    allowed(first.tap);
    first.tap.close();
    await first.log.close();
    writeFileSync(path, '{"previous":"torn', { flag: 'a' });
    expect(verifyLog([path]).faults[0]?.what).toBe('the file ends within a line');
    const second = await opened();
    second.tap.close();
    await second.log.close();
    const report = verifyLog([path]);
    expect(report).toMatchObject({ faults: [], kinds: { recovered: 1 } });
  });

  it('is not begun in a file that is something else', async () => {
    writeFileSync(path, 'not a log\n');
    await expect(opened()).rejects.toThrow('is there and is no decision log');
    expect(readFileSync(path, 'utf8')).toBe('not a log\n');
    await expect(opened({ path: join(folder, 'absent', 'log') })).rejects.toThrow('ENOENT');
  });
});

describe('verification', () => {
  it('finds every line that was removed, changed, doubled or put elsewhere', async () => {
    const { log, tap } = await opened();
    for (let turn = 0; turn < 10; turn++) (turn % 2 ? allowed : denied)(tap);
    tap.close();
    const head = await log.close();
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    const spoilt = join(folder, 'spoilt.log');
    const faultsOf = (changed: string[]): number => {
      writeFileSync(spoilt, `${changed.join('\n')}\n`);
      return verifyLog([spoilt], head).faults.length;
    };
    expect(faultsOf(lines)).toBe(0);
    const index = fc.nat(lines.length - 1);
    const change = fc.oneof(
      index.map((at) => ['removed', lines.toSpliced(at, 1)] as const),
      index.map((at) => ['doubled', lines.toSpliced(at, 0, lines[at] as string)] as const),
      fc
        .tuple(index, index)
        .filter(([from, to]) => from !== to)
        .map(
          ([from, to]) =>
            ['moved', lines.toSpliced(from, 1).toSpliced(to, 0, lines[from] as string)] as const,
        ),
      fc.tuple(index, fc.nat(), fc.integer({ min: 32, max: 126 })).map(([at, place, code]) => {
        const line = lines[at] as string;
        const byte = place % line.length;
        return [
          'changed',
          lines.with(at, line.slice(0, byte) + String.fromCharCode(code) + line.slice(byte + 1)),
        ] as const;
      }),
    );
    fc.assert(
      fc.property(change, ([, changed]) => {
        if (changed.join('\n') === lines.join('\n')) return;
        expect(faultsOf([...changed])).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it('finds a tail that was cut off by the end that was told, and not without it', async () => {
    const { log, tap } = await opened();
    for (let turn = 0; turn < 5; turn++) denied(tap);
    tap.close();
    const head = await log.close();
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    writeFileSync(path, `${lines.slice(0, -2).join('\n')}\n`);
    expect(verifyLog([path]).faults).toEqual([]);
    expect(verifyLog([path], head).faults[0]?.what).toContain(
      `it has ${head.lines - 2} lines, and ${head.lines} are expected`,
    );
    expect(verifyLog([path], { hash: head.hash }).faults).toHaveLength(1);
  });

  it('of any text says what is wrong and never fails itself', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.array(fc.json()).map((all) => all.join('\n')),
        ),
        (text) => {
          writeFileSync(path, text);
          expect(verifyLog([path]).faults.length).toBeGreaterThan(0);
        },
      ),
    );
  });
});

describe('a ring', () => {
  const record = new Uint8Array(100);

  it('that is full drops what is allowed, counts it, and keeps room for denials', () => {
    const ring = new Ring(ringMemory(), new Int32Array(new SharedArrayBuffer(4)));
    let kept = 0;
    while (ring.offer(record)) kept++;
    expect(ring.offer(record)).toBe(false);
    let insisted = 0;
    for (; insisted < 2000; insisted++) ring.insist(record);
    expect(ring.takeDropped()).toBe(2);
    expect(ring.takeDropped()).toBe(0);
    let taken = 0;
    while (ring.take() !== undefined) taken++;
    expect(taken).toBe(kept + insisted);
  });

  it('whose reserve is full lets nothing more through after a while', () => {
    const ring = new Ring(ringMemory(), new Int32Array(new SharedArrayBuffer(4)), 50);
    while (ring.offer(record));
    expect(() => {
      for (;;) ring.insist(record);
    }).toThrow('nothing more of the guest is let through');
  });

  it('gives records back as they were, whatever their lengths', () => {
    const ring = new Ring(ringMemory(), new Int32Array(new SharedArrayBuffer(4)));
    const lengths = fc.array(fc.oneof(fc.nat(64), fc.nat(100_000)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(lengths, fc.nat(255), (all, seed) => {
        for (const length of all) {
          const sent = new Uint8Array(length).map((_, index) => (index * 7 + seed) & 0xff);
          ring.insist(sent);
          expect(Buffer.compare(ring.take() ?? new Uint8Array(), sent)).toBe(0);
        }
      }),
      { numRuns: 20 },
    );
  });
});

describe('a full disk', () => {
  const isRoot = process.getuid?.() === 0;
  const full = (): string => {
    const mounted = join(folder, 'small');
    mkdirSync(mounted);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mounted]);
    return mounted;
  };

  it.skipIf(!isRoot)(
    'stops no guest, loses no denial, and shows what is missing (needs root for its tmpfs)',
    async () => {
      const mounted = full();
      try {
        path = join(mounted, 'decisions.log');
        const { log, tap, troubles } = await opened();
        writeFileSync(join(mounted, 'filler'), new Uint8Array(40 * 1024));
        let denials = 0;
        for (let turn = 0; turn < MANY_DENIALS / 10; turn++) {
          for (let each = 0; each < 9; each++) allowed(tap);
          if (turn % 3 === 0) {
            denied(tap);
            denials++;
          }
          if (turn % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await expect.poll(() => troubles.length).toBeGreaterThan(0);
        expect(troubles[0]).toContain('ENOSPC');
        // What was written of a line that did not fit is about to be taken back.
        await expect.poll(() => verifyLog([path]).faults).toEqual([]);
        execFileSync('mount', ['-o', 'remount,size=64m', mounted]);
        await expect.poll(() => troubles.length).toBe(2);
        expect(troubles[1]).toContain('is written again');
        tap.close();
        const head = await log.close();
        const report = verifyLog([path], head);
        expect(report.faults).toEqual([]);
        const lines = linesOf() as (LoggedDecision & { dropped: number; denied: number; allowed: number })[];
        expect(lines.filter(({ verdict }) => verdict === 'deny')).toHaveLength(denials);
        const dropped = lines
          .filter(({ kind }) => kind === 'dropped')
          .reduce((sum, line) => sum + line.dropped, 0);
        expect(dropped).toBeGreaterThan(0);
        expect(lines.at(-1)).toMatchObject({ kind: 'ended', denied: denials, dropped });
      } finally {
        // Lazily: what failed above may have left the log open.
        execFileSync('umount', ['--lazy', mounted]);
      }
    },
  );

  it.skipIf(!isRoot)(
    'that stays full is told at the end, with the denials themselves (needs root for its tmpfs)',
    async () => {
      const mounted = full();
      try {
        path = join(mounted, 'decisions.log');
        const { log, tap, troubles } = await opened();
        writeFileSync(join(mounted, 'filler'), new Uint8Array(56 * 1024));
        for (let turn = 0; turn < 50; turn++) denied(tap);
        tap.close();
        await log.close();
        const written = linesOf().filter(({ verdict }) => verdict === 'deny').length;
        const told = troubles
          .filter((text) => text.startsWith('{'))
          .map((text) => JSON.parse(text) as LoggedDecision);
        expect(told.length).toBeGreaterThan(0);
        expect(written + told.filter(({ verdict }) => verdict === 'deny').length).toBe(50);
        expect(verifyLog([path]).faults).toEqual([]);
      } finally {
        // Lazily: what failed above may have left the log open.
        execFileSync('umount', ['--lazy', mounted]);
      }
    },
  );
});

describe('a replay', () => {
  const recorded = async (options: Partial<DecisionLogOptions>): Promise<LoggedDecision[]> => {
    const { log, tap } = await opened(options);
    allowed(tap);
    denied(tap);
    operate(tap, { command: 0x5403 }, new Uint8Array(36));
    tap.close();
    await log.close();
    return linesOf();
  };

  it('by the same module changes nothing', async () => {
    const report = await replay(await recorded({ tellsArguments: true }), pty);
    expect(report).toMatchObject({ decisions: 3, judged: 3, byCommandOnly: 0, changes: [] });
  });

  it('by another module tells what would change, and which way', async () => {
    const lines = await recorded({ tellsArguments: true });
    const report = await replay(lines, denies(pty, TIOCSWINSZ));
    expect(report.changes).toMatchObject([
      { command: 'TIOCSWINSZ', direction: 'narrower', recorded: 'allowed: head to-driver' },
    ]);
  });

  it('without arguments says of which operations it only knows the command', async () => {
    const lines = await recorded({});
    const report = await replay(lines, denies(pty, TIOCSWINSZ));
    expect(report).toMatchObject({ decisions: 3, judged: 1, byCommandOnly: 2, changes: [] });
    const tun = await policyPackage('tun');
    const other = { ...tun, manifest: { ...tun.manifest, class: 'pty' } };
    expect((await replay(lines, other)).decisions).toBe(0);
  });
});
