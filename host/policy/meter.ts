import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cachedFile } from '../cache.js';
import { withoutCustomSections } from './wasm-sections.js';

/** The global that holds what is left of the fuel. Its name, and the next one's, are no valid WIT names. */
export const FUEL_EXPORT = 'postern:fuel';
/** The function by which the host fills it before each call: a tenth of what setting the global from JavaScript costs. */
export const REFUEL_EXPORT = 'postern:refuel';

/** Grows with every change of what metering puts into a module, so that old results are not used. */
const METER_VERSION = 2;
const CACHE_FOLDER = 'metered';
/** The binaryen pass that calls a function at each function entry, loop turn and return, and the name of that function. */
const PROBE_PASS = 'log-execution';
const PROBE = 'log_execution';
/** binaryen's own name for the global. */
const FUEL = 'fuel';
const REFUEL = 'refuel';

/**
 * The core module, made to spend fuel at each function entry, loop turn and return, and to trap when there is none; compiled.
 * The metered binary is cached by the core's digest, because loading binaryen takes longer than all the rest.
 * @throws Error when the module can't be metered
 */
export async function meteredModule(core: Uint8Array): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await meteredCore(core));
}

/** Where the metered binary is kept: in `folder`, or where this user has such. */
export function meteredPath(core: Uint8Array, folder?: string): string {
  const digest = createHash('sha256').update(`${METER_VERSION}\0`).update(core).digest('hex');
  const name = `${digest}.wasm`;
  return folder === undefined ? cachedFile(CACHE_FOLDER, name) : join(folder, name);
}

/** As meteredModule, but the binary. */
export async function meteredCore(core: Uint8Array, folder?: string): Promise<Uint8Array> {
  const path = meteredPath(core, folder);
  if (existsSync(path)) return readFileSync(path);
  const metered = await meter(core);
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  writeFileSync(unfinished, metered);
  renameSync(unfinished, path);
  return metered;
}

async function meter(core: Uint8Array): Promise<Uint8Array> {
  const { default: binaryen } = await import('binaryen');
  // Without the names section no function of the module can be called as the probe is.
  const module = binaryen.readBinary(withoutCustomSections(core));
  try {
    module.setFeatures(allowedFeatures(binaryen.Features));
    module.runPasses([PROBE_PASS]);
    replaceProbe(binaryen, module);
    if (module.validate() !== 1)
      throw new Error('The policy module cannot be metered: the result is not valid.');
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

/** What a policy may use beyond the first version of WebAssembly: no threads, no exceptions, no tail calls. */
function allowedFeatures(features: typeof import('binaryen').default.Features): number {
  const { MutableGlobals, BulkMemory, BulkMemoryOpt, SignExt, NontrappingFPToInt } = features;
  return MutableGlobals | BulkMemory | BulkMemoryOpt | SignExt | NontrappingFPToInt;
}

/** The pass leaves an imported function; this one takes its place: fuel = fuel - 1, and a trap below zero. */
function replaceProbe(
  binaryen: typeof import('binaryen').default,
  module: import('binaryen').default.Module,
): void {
  const { i32, none } = binaryen;
  const fuel = (): number => module.global.get(FUEL, i32);
  module.removeFunction(PROBE);
  module.addGlobal(FUEL, i32, true, module.i32.const(0));
  module.addGlobalExport(FUEL, FUEL_EXPORT);
  module.addFunction(REFUEL, i32, none, [], module.global.set(FUEL, module.local.get(0, i32)));
  module.addFunctionExport(REFUEL, REFUEL_EXPORT);
  module.addFunction(
    PROBE,
    i32,
    none,
    [],
    module.block(null, [
      module.global.set(FUEL, module.i32.sub(fuel(), module.i32.const(1))),
      module.if(module.i32.lt_s(fuel(), module.i32.const(0)), module.unreachable()),
    ]),
  );
}
