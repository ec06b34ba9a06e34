import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { anyCall, guestBytes, guestReader } from '../../host/audit/generated-calls.js';
import { type Call, type ClassInfo, PolicyInstance, type Verdict } from '../../host/policy/abi.js';
import { rowOf } from '../../host/policy/described.js';
import { meteredModule } from '../../host/policy/meter.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { ROOT } from '../../host/root.js';
import { EFAULT, type Oracle, oracleFor, policyPackage } from './support.js';

const CALLS = 5000;
/** A relocation of the argument itself, instead of a field of a region. */
const ARGUMENT = 0xfffffffe;
/** No answer may leave the manifest's envelope, or name what the class doesn't have. */
function expectWithin(verdict: Verdict, info: ClassInfo, { manifest: { envelope } }: PolicyPackage): void {
  if (verdict.tag === 'deny') {
    expect(verdict.val.errno).toBeGreaterThan(0);
    expect(verdict.val.errno).toBeLessThan(4096);
    expect(verdict.val.reason).toBeGreaterThan(0);
    expect(verdict.val.reason).toBeLessThan(info.reasons.length);
    return;
  }
  const { grants, relocations, requirements, descriptors, forget } = verdict.val;
  const granted = grants.reduce((sum, { length }) => sum + length, 0);
  expect(grants.length).toBeLessThanOrEqual(envelope.grantsMax);
  expect(granted).toBeLessThanOrEqual(envelope.grantBytesMax);
  for (const { region, target } of relocations) if (region !== ARGUMENT) expect(region).toBeLessThan(target);
  for (const { target } of relocations) expect(target).toBeLessThanOrEqual(grants.length);
  expect(descriptors.length).toBeLessThanOrEqual(envelope.descriptorsMax ?? 0);
  for (const { region } of descriptors) expect(region).toBeLessThanOrEqual(grants.length);
  for (const { table } of [...requirements, ...forget]) expect(table).toBeLessThan(info.tables.length);
}

function isUnsettled(info: ClassInfo, { operation, command }: Call): boolean {
  if (operation === 'read' || operation === 'write') return info.unsettledTransfers;
  return operation === 'ioctl' && rowOf(info, command)?.unsettled === true;
}

const CLASSES = readdirSync(join(ROOT, 'policies'))
  .filter((file) => file.endsWith('.manifest.json'))
  .map((file) => file.slice(0, -'.manifest.json'.length));

describe.each(CLASSES)('the glue for %s', (name) => {
  let policy: PolicyPackage;
  let ours: PolicyInstance;
  let theirs: Oracle;
  let remove: () => void;

  beforeAll(async () => {
    policy = await policyPackage(name);
    const oracle = await oracleFor(readFileSync(policy.component));
    remove = oracle.remove;
    theirs = oracle.make((address, length) => {
      const bytes = guestBytes(address, length);
      if (bytes === undefined) throw EFAULT;
      return bytes;
    });
    ours = new PolicyInstance(await meteredModule(policy.core), policy.manifest, guestReader([]));
  });
  afterAll(() => remove());

  it('describes the class as jco does', () => {
    expect(ours.describe()).toEqual(theirs.describe());
  });

  it(`answers ${CALLS} generated calls as jco does, within the envelope`, () => {
    const info = ours.describe();
    let allowed = 0;
    fc.assert(
      fc.property(anyCall(info.commands), ({ call, head }) => {
        const verdict = ours.admit(call, head);
        expect(verdict).toEqual(theirs.admit(call, head));
        expectWithin(verdict, info, policy);
        if (verdict.tag === 'allow') allowed += 1;
      }),
      { numRuns: CALLS },
    );
    expect(allowed).toBeGreaterThan(CALLS / 10);
  });

  it(`settles ${CALLS} generated outcomes as jco does`, () => {
    const { commands, tables } = ours.describe();
    const outcome = fc.oneof(fc.constant(0n), fc.bigInt({ min: -133n, max: 4096n }));
    fc.assert(
      fc.property(anyCall(commands), outcome, ({ call, head }, result) => {
        const settlement = ours.complete(call, head, result);
        expect(settlement).toEqual(theirs.complete(call, head, result));
        for (const { table } of settlement.learn) expect(table).toBeLessThan(tables.length);
      }),
      { numRuns: CALLS },
    );
  });

  it('settles nothing of what it says nothing is to be settled of, whatever the driver answers', () => {
    const info = ours.describe();
    const quiet = info.commands.find(({ unsettled }) => unsettled);
    const outcome = fc.bigInt({ min: -133n, max: 4096n });
    let unsettled = 0;
    fc.assert(
      fc.property(anyCall(info.commands), outcome, ({ call, head }, result) => {
        if (!isUnsettled(info, call)) return;
        unsettled += 1;
        const { state, watch, idle, learn, masks } = ours.complete(call, head, result);
        expect({ state, learn, masks }).toEqual({ state: call.state, learn: [], masks: [] });
        // The poll events follow from the state and the node alone: another such command says the same of them.
        if (quiet === undefined) return;
        const other = { ...call, operation: 'ioctl' as const, command: quiet.number, argument: 0n };
        expect(ours.complete(other, new Uint8Array(quiet.head), 0n)).toMatchObject({ watch, idle });
      }),
      { numRuns: CALLS },
    );
    if (quiet !== undefined) expect(unsettled).toBeGreaterThan(0);
  });
});
