import { describe, expect, it } from 'vitest';
import type { ClassInfo, Command } from '../../host/policy/abi.js';
import { envelopeCommands, envelopeFaults } from '../../host/policy/command-envelope.js';
import type { EnvelopeCommand, Manifest } from '../../host/policy/manifest.js';
import { loadPolicies } from '../../host/policy/store.js';
import { policyInstance, policyPackage } from './support.js';

const OUT = { toDriver: false, fromDriver: true, fromDriverOnError: false };
const BOTH = { toDriver: true, fromDriver: true, fromDriverOnError: false };
const READ: Command = {
  name: 'READ',
  number: 0x80046501,
  mask: 0xffffffff,
  head: 4,
  access: OUT,
  nested: false,
  unsettled: false,
  steady: false,
  refused: 0,
};
const ALLOWED: EnvelopeCommand = {
  name: 'READ',
  number: '0x80046501',
  mask: '0xffffffff',
  headBytes: 4,
  access: ['from-driver'],
  nested: false,
};

async function manifestWith(commands: EnvelopeCommand[]): Promise<Manifest> {
  const { manifest } = await policyPackage('media');
  return {
    ...manifest,
    envelope: { ...manifest.envelope, ioctlTypes: ['e'], argumentBytesMax: 64, commands },
  };
}

const infoOf = (row: Partial<Command>): ClassInfo => ({
  class: 'media',
  commands: [{ ...READ, ...row }],
  reasons: ['', 'no'],
  tables: [],
  unsettledTransfers: false,
});

describe('the commands of an envelope', () => {
  it('are those that each class of Postern’s own lets through, and no more', async () => {
    for (const { manifest } of loadPolicies()) {
      const info = (await policyInstance(manifest.name)).describe();
      expect(manifest.envelope.commands, manifest.name).toEqual(envelopeCommands(info));
      expect(envelopeFaults(info, manifest), manifest.name).toEqual([]);
    }
  });

  it('leave out what the class refuses', () => {
    expect(envelopeCommands(infoOf({ refused: 1 }))).toEqual([]);
  });

  it.each<[string, Partial<Command>]>([
    ['another number', { number: 0x80046502 }],
    ['a longer head', { head: 5 }],
    ['another direction', { access: BOTH }],
    ['bytes that go out after an error', { access: { ...OUT, fromDriverOnError: true } }],
    ['nested regions', { nested: true }],
    ['bits that may be anything', { mask: 0xffff00ff, number: 0x80040001 }],
  ])('do not cover a row with %s', async (_what, row) => {
    const [fault, ...others] = envelopeFaults(infoOf(row), await manifestWith([ALLOWED]));
    expect(fault).toMatch(/^READ \(0x[0-9a-f]{8}\) is not in the envelope, or goes beyond it\.$/);
    expect(others).toEqual([]);
  });

  it.each<[string, Partial<Command>, Partial<EnvelopeCommand>]>([
    ['the same', {}, {}],
    ['a shorter head', { head: 2 }, {}],
    ['fewer directions', {}, { access: ['to-driver', 'from-driver'] }],
    ['one number of several', {}, { mask: '0x0000ffff', number: '0x00006501' }],
    ['a refusal', { number: 0x80046502, refused: 1 }, {}],
  ])('cover %s', async (_what, row, allowed) => {
    expect(envelopeFaults(infoOf(row), await manifestWith([{ ...ALLOWED, ...allowed }]))).toEqual([]);
  });
});
