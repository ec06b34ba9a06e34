import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { vectorCoverage } from '../../host/audit/vector-coverage.js';
import { type ClassInfo, PolicyInstance } from '../../host/policy/abi.js';
import { describeSettlement, describeVerdict, isErrnoName } from '../../host/policy/described.js';
import { meteredModule } from '../../host/policy/meter.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import {
  bytesOf,
  callOfVector,
  commandNumber,
  loadVectors,
  parseVectors,
  runVectors,
  sparseOf,
  type VectorFile,
  withoutEmpty,
} from '../../host/policy/vectors.js';
import { ROOT } from '../../host/root.js';
import { denies } from '../serve/variants.js';
import { addVector, RECORDS } from './record-vectors.js';
import { EFAULT, policyPackage } from './support.js';

const CLASSES = readdirSync(join(ROOT, 'policies'))
  .filter((file) => file.endsWith('.manifest.json'))
  .map((file) => file.slice(0, -'.manifest.json'.length));
/** No class has a command of this type. */
const NO_COMMAND = 0x40040000;
/** Where a command has its size (_IOC_SIZESHIFT), and how long an argument of zeroes is where the caller chooses. */
const SIZE_SHIFT = 16;
const SIZED_BYTES = 32;
/** Three events of an input device, where what is written is judged. */
const TRANSFER_BYTES = 72;

interface Described {
  instance: PolicyInstance;
  info: ClassInfo;
}

async function described(name: string): Promise<Described> {
  const { core, manifest } = await policyPackage(name);
  const instance = new PolicyInstance(await meteredModule(core), manifest, () => EFAULT);
  return { instance, info: instance.describe() };
}

/** Adds what the classes' tests do not try: each command with an argument of zeroes, and one that nobody knows. */
function addPlain(name: string, { instance, info }: Described): void {
  const judge = (command: string, what: string): void => {
    const vector = { name: what, operation: 'ioctl' as const, command, argument: '0x70000000' };
    const number = commandNumber({ ...vector, expect: { settle: {} } }, info) as number;
    const row = info.commands.find((entry) => (number & entry.mask) >>> 0 === entry.number);
    const bytes = command.startsWith('0x') ? (number >>> SIZE_SHIFT) & 0x3fff : (row?.head ?? 0);
    const head = { bytes };
    const call = callOfVector({ ...vector, expect: { settle: {} } }, number);
    const told = describeVerdict(instance.admit(call, bytesOf(head)), info);
    const answer =
      'allow' in told
        ? { allow: withoutEmpty(told.allow, 'allow') as typeof told.allow }
        : { deny: told.deny };
    addVector(name, info.class, { ...vector, ...(bytes === 0 ? {} : { head }), expect: answer });
  };
  for (const { name: command, number, mask, refused } of info.commands) {
    const isSized = (mask & (0x3fff << SIZE_SHIFT)) === 0;
    const asked = isSized ? `0x${((number | (SIZED_BYTES << SIZE_SHIFT)) >>> 0).toString(16)}` : command;
    judge(asked, refused === 0 ? `${command} with an argument of zeroes` : 'refused on purpose');
  }
  judge(`0x${NO_COMMAND.toString(16)}`, 'nobody knows this command');
}

/** Adds what the classes' tests do not try of the file operations of each kind of node, and what an open means for poll. */
function addFileOperations(name: string, { manifest }: PolicyPackage, { instance, info }: Described): void {
  const { operations, writesJudged } = manifest.envelope;
  for (const [node, { descriptor }] of manifest.nodes.entries())
    for (const operation of operations) {
      // A command is not of a node, and a descriptor's file is not opened by a name.
      if (operation === 'ioctl' || (operation === 'open' && descriptor !== undefined)) continue;
      const isTransfer = operation === 'read' || operation === 'write';
      const head = operation === 'write' && writesJudged ? { head: { bytes: TRANSFER_BYTES } } : {};
      const call = {
        ...{ name: 'as plainly as can be', ...(node === 0 ? {} : { node }), operation },
        ...(operation === 'open' ? { argument: '0x2' } : {}),
        ...(isTransfer
          ? { argument: '0x70000000', length: `0x${TRANSFER_BYTES.toString(16)}`, ...head }
          : {}),
        ...(operation === 'mmap' ? { command: '0x3', length: '0x1000' } : {}),
      };
      const asked = callOfVector(
        { ...call, expect: { settle: {} } },
        Number('command' in call ? call.command : 0),
      );
      const bytes = bytesOf('head' in call ? call.head : undefined);
      const told = describeVerdict(instance.admit(asked, bytes), info);
      if ('deny' in told) addVector(name, info.class, { ...call, expect: told });
      else {
        const allow = withoutEmpty(told.allow, 'allow') as typeof told.allow;
        addVector(name, info.class, { ...call, expect: { allow } });
        const means = describeSettlement(instance.complete(asked, bytes, 0n), info);
        const settle = withoutEmpty(means, 'settle');
        addVector(name, info.class, { ...call, outcome: 0, expect: { settle } });
      }
    }
}

/** Adds what an argument of zeroes means for the session, where the class's tests do not try a command whose success means something. */
function addSettlements(name: string, { instance, info }: Described): void {
  const vectors = loadVectors(name).vectors.filter(({ outcome }) => outcome !== undefined);
  for (const { name: command, number, mask, head, refused, unsettled } of info.commands) {
    const isShown = vectors.some((vector) => ((commandNumber(vector, info) ?? -1) & mask) >>> 0 === number);
    if (refused !== 0 || unsettled || isShown) continue;
    const vector = {
      ...{ name: 'with an argument of zeroes', operation: 'ioctl' as const, command, argument: '0x70000000' },
      ...(head === 0 ? {} : { head: { bytes: head } }),
    };
    const call = callOfVector({ ...vector, expect: { settle: {} } }, number);
    const means = describeSettlement(instance.complete(call, new Uint8Array(head), 0n), info);
    addVector(name, info.class, { ...vector, outcome: 0, expect: { settle: withoutEmpty(means, 'settle') } });
  }
}

describe.each(CLASSES)('the vectors of %s', (name) => {
  if (RECORDS)
    it('are completed', async () => {
      const of = await described(name);
      addPlain(name, of);
      addFileOperations(name, await policyPackage(name), of);
      addSettlements(name, of);
    });

  it('show each command and file operation, what follows them, and each reason', async () => {
    const coverage = await vectorCoverage(await policyPackage(name), loadVectors(name));
    expect(coverage).toMatchObject({
      ...{ neverAllowed: [], neverRefused: [], neverGiven: [], neverSettled: [], percent: 100 },
    });
  });

  it('are answered as they say', async () => {
    const report = await runVectors(await policyPackage(name), loadVectors(name));
    expect(report.failures).toEqual([]);
    expect(report.passed).toBe(report.total);
  });

  it('have every command of the table, and what is refused with its errno and its reason', async () => {
    const { info } = await described(name);
    const vectors = loadVectors(name).vectors.filter(({ operation }) => operation === 'ioctl');
    const ofRow = ({ number, mask }: ClassInfo['commands'][number]) =>
      vectors.filter((vector) => ((commandNumber(vector, info) ?? -1) & mask) >>> 0 === number);
    const untried = info.commands.filter((row) => ofRow(row).length === 0);
    expect(untried.map(({ name: command }) => command)).toEqual([]);
    for (const row of info.commands.filter(({ refused }) => refused !== 0)) {
      const { name: command, refused } = row;
      const answers = ofRow(row)
        .filter(({ outcome }) => outcome === undefined)
        .map(({ expect: expected }) => ('deny' in expected ? expected.deny : undefined));
      expect(answers.length, command).toBeGreaterThan(0);
      for (const denial of answers) expect(denial?.reason, command).toBe(info.reasons[refused]);
    }
    for (const { expect: expected } of vectors)
      if ('deny' in expected) expect(isErrnoName(expected.deny.errno)).toBe(true);
  });

  it('have a command that nobody knows', async () => {
    const found = loadVectors(name).vectors.find(({ command }) => command === `0x${NO_COMMAND.toString(16)}`);
    expect(found?.expect).toMatchObject({ deny: { errno: 'ENOTTY' } });
  });
});

describe('a module that answers otherwise', () => {
  it('fails its vectors, by vector, command and field', async () => {
    const TIOCSWINSZ = 0x5414;
    const changed = denies(await policyPackage('pty'), TIOCSWINSZ);
    const { passed, total, failures } = await runVectors(changed, loadVectors('pty'));
    expect(passed).toBeLessThan(total);
    expect(failures.map(({ command }) => command)).toContain('TIOCSWINSZ');
    expect(new Set(failures.map(({ command }) => command))).toEqual(new Set(['TIOCSWINSZ']));
    expect(failures.map(({ field }) => field)).toContain('allow');
    expect(failures.every(({ vector }) => vector.startsWith('TIOCSWINSZ'))).toBe(true);
  });

  it('of another class fails', async () => {
    const { failures } = await runVectors(await policyPackage('pty'), loadVectors('media'));
    expect(failures[0]).toMatchObject({ field: 'class', expected: 'media', actual: 'pty' });
  });
});

describe('a file of vectors', () => {
  const GOOD = readFileSync(join(ROOT, 'policies', 'media.vectors.json'), 'utf8');
  const spoilt = (change: (file: VectorFile) => void): string => {
    const file = JSON.parse(GOOD) as VectorFile;
    change(file);
    return JSON.stringify(file);
  };

  it('is checked, and all that is wrong is told with its path', () => {
    const text = spoilt(({ vectors }) => {
      Object.assign(vectors[0] as object, { operation: 'ring', argument: '12' });
      Object.assign(vectors[1] as object, { surprise: 1 });
    });
    expect(() => parseVectors(text, 'x.json')).toThrow(/x\.json is not a file of test vectors/);
    for (const path of ['/vectors/0/operation', '/vectors/0/argument', '/vectors/1 must NOT'])
      expect(() => parseVectors(text, 'x.json')).toThrow(path);
  });

  it.each<[string, (file: VectorFile) => void, string]>([
    ['two of one name', ({ vectors }) => vectors.push(vectors[0] as never), 'two vectors are named'],
    [
      'bytes beyond the head',
      ({ vectors }) => Object.assign(vectors[0] as object, { head: { bytes: 2, at: { 1: 'ffff' } } }),
      'goes beyond the 2 bytes',
    ],
    [
      'an outcome without a settlement',
      ({ vectors }) => Object.assign(vectors[0] as object, { outcome: 0 }),
      "must be 'settle' where there is an outcome",
    ],
    [
      'an ioctl without a command',
      ({ vectors }) => delete (vectors[0] as { command?: string }).command,
      "must have property 'command'",
    ],
  ])('with %s is refused', (_, change, message) => {
    expect(() => parseVectors(spoilt(change), 'x.json')).toThrow(message);
  });

  it('of any JSON is either right or refused with its name', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(() => parseVectors(text, 'any.json')).toThrow(/^any\.json is not/);
      }),
    );
  });

  it('has bytes that are what they were', () => {
    const bytes = fc.array(fc.oneof(fc.constant(0), fc.nat(255)), { maxLength: 300 });
    fc.assert(
      fc.property(bytes, (list) => {
        const sparse = sparseOf(Uint8Array.from(list));
        expect([...bytesOf(sparse)]).toEqual(list);
        expect([...bytesOf(JSON.parse(JSON.stringify(sparse)))]).toEqual(list);
      }),
    );
  });
});
