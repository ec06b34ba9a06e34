import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { componentEmbed, componentNew } from '@bytecodealliance/jco';
import binaryen from 'binaryen';
import { PolicyInstance } from '../../host/policy/abi.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { meteredCore } from '../../host/policy/meter.js';
import { ROOT } from '../../host/root.js';

/** Where the answers of the modules below lie in their memory. */
export const ANSWER = 1024;
/** Where their cabi_realloc places everything. */
const ALLOCATION = 32768;

/** The parts of a module that is a policy only by its exports; each is WebAssembly text. */
export interface HostileParts {
  /** The body of admit, which leaves the address of a verdict. */
  admit?: string;
  /** The body of complete, which leaves the address of a settlement. */
  complete?: string;
  describe?: string;
  realloc?: string;
  memory?: string;
  /** Further fields of the module. */
  fields?: string;
}

/** 32-bit words as the bytes at ANSWER; a string is hexadecimal bytes. */
export function answerData(words: number[]): string {
  const bytes = Buffer.from(new Uint32Array(words).buffer);
  return `(data (i32.const ${ANSWER}) "${[...bytes].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}")`;
}

/** The text of a module with the world's exports, whose parts default to harmless ones. */
export function hostileText(parts: HostileParts): string {
  const parameters = '(param i32 i32 i32 i32 i32 i64 i64 i64 i64 i32 i32';
  const answer = `(i32.const ${ANSWER})`;
  return `(module
    (import "postern:device/guest-memory@0.2.0" "read" (func $read (param i64 i32 i32)))
    ${parts.memory ?? '(memory (export "memory") 1 4)'}
    ${parts.fields ?? ''}
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) ${parts.realloc ?? `(i32.const ${ALLOCATION})`})
    (func $describe (export "describe") (result i32) ${parts.describe ?? answer})
    (func $admit (export "admit") ${parameters}) (result i32) ${parts.admit ?? answer})
    (func (export "complete") ${parameters} i64) (result i32) ${parts.complete ?? answer}))`;
}

export function hostileCore(parts: HostileParts): Uint8Array {
  return assemble(hostileText(parts));
}

/** WebAssembly text to a binary, with all the names in it that the text has. */
export function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  try {
    binaryen.setDebugInfo(true);
    module.setFeatures(binaryen.Features.All);
    return module.emitBinary();
  } finally {
    binaryen.setDebugInfo(false);
    module.dispose();
  }
}

export async function hostileComponent(core: Uint8Array): Promise<Uint8Array> {
  const witSource = readFileSync(join(ROOT, 'schemas', 'device-class.wit'), 'utf8');
  return componentNew(await componentEmbed({ binary: core, witSource, world: 'device-class' }));
}

/** An instance of a hostile module under the envelope of a real class. */
export async function hostileInstance(
  core: Uint8Array,
  manifest: Manifest,
  cacheFolder: string,
): Promise<PolicyInstance> {
  const metered = await meteredCore(core, cacheFolder);
  return new PolicyInstance(new WebAssembly.Module(metered), manifest, () => 0);
}
