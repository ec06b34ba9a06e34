import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { buildPolicies } from '../../host/policy/build.js';
import { meteredCore } from '../../host/policy/meter.js';
import { coreModuleOf, coreSections, withoutCustomSections } from '../../host/policy/wasm-sections.js';
import { hostileCore } from './hostile-module.js';
import { policyPackage } from './support.js';

const folders: string[] = [];
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'postern-build-'));
  folders.push(folder);
  return folder;
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  vi.doUnmock('binaryen');
  vi.doUnmock('assemblyscript/asc');
});

describe('the build', () => {
  it('has nothing to do, and loads no compiler, when nothing has changed', async () => {
    await buildPolicies(() => {});
    vi.doMock('assemblyscript/asc', () => {
      throw new Error('The compiler was loaded.');
    });
    const lines: string[] = [];
    expect(await buildPolicies((line) => lines.push(line))).toEqual([]);
    expect(lines).toEqual([]);
  });
});

describe('the metering', () => {
  it('is cached, so that binaryen need not be loaded again', async () => {
    const folder = temporaryFolder();
    const core = hostileCore({});
    const metered = await meteredCore(core, folder);
    expect(metered.length).toBeGreaterThan(core.length / 2);
    expect(readdirSync(folder)).toHaveLength(1);
    vi.doMock('binaryen', () => {
      throw new Error('binaryen was loaded.');
    });
    expect(await meteredCore(core, folder)).toEqual(Buffer.from(metered));
  });

  it('tells modules apart by their bytes', async () => {
    const folder = temporaryFolder();
    await meteredCore(hostileCore({}), folder);
    await meteredCore(hostileCore({ admit: '(i32.const 4)' }), folder);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it.each([
    ['tail calls', '(return_call $describe)'],
    ['vectors', '(drop (v128.const i32x4 0 0 0 0)) (i32.const 0)'],
  ])('refuses modules that use %s', async (_what, admit) => {
    await expect(meteredCore(hostileCore({ admit }), temporaryFolder())).rejects.toThrow('cannot be metered');
  });
});

describe('a WebAssembly binary', () => {
  it('that is no component has no core module in it', () => {
    expect(() => coreModuleOf(hostileCore({}))).toThrow('Expected the WebAssembly binary of a component');
    expect(() => coreModuleOf(new Uint8Array(4))).toThrow('Expected the WebAssembly binary of a component');
  });

  it('that ends in the middle of a section is refused', async () => {
    const { core } = await policyPackage('v4l2');
    expect(() => coreSections(core.subarray(0, core.length - 3))).toThrow('ends in the middle of a section');
  });

  it('keeps its meaning without its custom sections', () => {
    const core = hostileCore({ fields: '(func $named)' });
    const bare = withoutCustomSections(core);
    expect(bare.length).toBeLessThan(core.length);
    expect(WebAssembly.validate(bare)).toBe(true);
    expect(coreSections(bare).every(({ name }) => name === '')).toBe(true);
  });
});
