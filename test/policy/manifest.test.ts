import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Manifest, parseManifest } from '../../host/policy/manifest.js';
import { loadPolicies, policyForDevice, refusalOf } from '../../host/policy/store.js';
import { hostileComponent, hostileCore } from './hostile-module.js';
import { policyPackage } from './support.js';

async function v4l2Manifest(): Promise<Manifest> {
  return structuredClone((await policyPackage('v4l2')).manifest);
}

describe('a manifest', () => {
  it('is refused with all its faults at once, each with its path', async () => {
    const manifest = await v4l2Manifest();
    const envelope = { ...manifest.envelope, grantsMax: -1, operations: ['fly'] };
    const faults = { version: '1', contract: '0.3.0', surprise: true, nodes: [{ pattern: '(' }], envelope };
    const { sharing: _missing, ...broken } = { ...manifest, ...faults };
    const check = (): Manifest => parseManifest(JSON.stringify(broken), 'broken.manifest.json');
    expect(check).toThrow(/^broken\.manifest\.json is not a policy manifest:/);
    for (const fault of [
      "/ must have required property 'sharing'",
      '/ must NOT have additional properties: surprise',
      '/version must match pattern',
      '/contract must be equal to constant: "0.2.0"',
      '/nodes/0/pattern must match format "regex"',
      '/envelope/grantsMax must be >= 0',
      '/envelope/operations/0 must be equal to one of the allowed values: "open"',
    ])
      expect(check).toThrow(fault);
  });

  it('is refused when it is no JSON', () => {
    expect(() => parseManifest('{', 'half.json')).toThrow(/^half\.json is not JSON: /);
  });
});

describe('the module for a device', () => {
  it('is found by the whole name', async () => {
    await policyPackage('v4l2');
    const packages = loadPolicies();
    const match = (device: string): [string, number] | undefined => {
      const found = policyForDevice(packages, device);
      return found && [found.package.manifest.name, found.node];
    };
    expect(match('video0')).toEqual(['v4l2', 0]);
    expect(match('radio12')).toEqual(['v4l2', 2]);
    expect(match('ptmx')).toEqual(['pty', 0]);
    expect(match('pts/3')).toEqual(['pty', 1]);
    expect(match('net/tun')).toEqual(['tun', 0]);
    for (const device of ['video', 'video0x', 'xvideo0', 'video0/..', 'mem', 'video0\n']) {
      expect(match(device), device).toBeUndefined();
    }
  });

  it('is nobody’s when several classes claim the device', async () => {
    await policyPackage('v4l2');
    const packages = loadPolicies();
    const [pty] = packages.filter(({ manifest }) => manifest.name === 'pty');
    if (pty === undefined) throw new Error('There is no class pty.');
    const greedy = {
      ...pty,
      manifest: { ...pty.manifest, class: 'greedy', nodes: [{ pattern: 'video[0-9]+' }] },
    };
    expect(policyForDevice([greedy, ...packages], 'video0')).toBeUndefined();
    expect(refusalOf([greedy, ...packages], 'video0')).toMatch(/^several classes claim it \(greedy, v4l2\)/);
    expect(policyForDevice([greedy, ...packages], 'media0')?.package.manifest.name).toBe('media');
  });

  it('is not loaded when its core is unfit, whatever built it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-policies-'));
    try {
      const core = hostileCore({ memory: '(memory (export "memory") 1)' });
      writeFileSync(join(folder, 'v4l2.component.wasm'), await hostileComponent(core));
      writeFileSync(join(folder, 'v4l2.manifest.json'), JSON.stringify(await v4l2Manifest()));
      expect(() => loadPolicies(folder)).toThrow('The memory declares no maximum');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is asked for in an empty folder with a hint', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-policies-'));
    expect(() => loadPolicies(folder)).toThrow(`No policy modules in ${folder}`);
    rmSync(folder, { recursive: true });
  });
});
