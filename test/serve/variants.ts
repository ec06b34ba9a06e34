import { createHash } from 'node:crypto';
import binaryen from 'binaryen';
import type { PolicyPackage } from '../../host/policy/store.js';
import { CALL, wrap } from '../mediator/spoilt-policy.js';

const { i32 } = binaryen;
/** The command's place among the parameters of `admit`. */
const COMMAND_PARAMETER = 3;
/** Where the canonical ABI has the tag, the errno and the reason of a verdict. */
const VERDICT = { tag: 0, errno: 4, reason: 8, field: 12 } as const;
const EPERM = 1;

/** The same policy in other bytes, as the next version. */
export function variant(good: PolicyPackage, number: number): PolicyPackage {
  return changed(good, `variant ${number}`, (module) => {
    module.addGlobal(`variant-${number}`, i32, true, module.i32.const(number));
    // Something must use it, or it would be left out.
    const use = module.global.set(`variant-${number}`, module.i32.const(number + 1));
    wrap(module, 'admit', CALL, { before: [use], after: [] });
  });
}

/** The policy until its `calls`-th decision, in which it does what `then` makes. */
function until(
  good: PolicyPackage,
  what: string,
  calls: number,
  then: (module: binaryen.Module) => number,
): PolicyPackage {
  return changed(good, `${what} after ${calls}`, (module) => {
    const seen = (): number => module.global.get('seen', i32);
    module.addGlobal('seen', i32, true, module.i32.const(0));
    const before = [
      module.global.set('seen', module.i32.add(seen(), module.i32.const(1))),
      module.if(module.i32.eq(seen(), module.i32.const(calls)), then(module)),
    ];
    wrap(module, 'admit', CALL, { before, after: [] });
  });
}

/** Traps in its `calls`-th decision. */
export function trapsAfter(good: PolicyPackage, calls: number): PolicyPackage {
  return until(good, 'traps', calls, (module) => module.unreachable());
}

/** Never ends its `calls`-th decision. */
export function loopsAfter(good: PolicyPackage, calls: number): PolicyPackage {
  return until(good, 'loops', calls, (module) => module.loop('again', module.br('again')));
}

/** Asks in its answers for what the native side refuses, once it has the address of an argument that is no zero: an errno that is none. */
export function absurd(good: PolicyPackage, command: number): PolicyPackage {
  return denies(good, command, 100_000);
}

/** Denies one command of a real argument; arguments of zeroes it judges as before. */
export function denies(good: PolicyPackage, command: number, errno = EPERM): PolicyPackage {
  return changed(good, `denies ${command} by ${errno}`, (module) => {
    const answer = (): number => module.local.get(CALL.length, i32);
    const put = (offset: number, value: number): number =>
      module.i32.store(offset, 4, answer(), module.i32.const(value));
    const isIt = module.i32.eq(module.local.get(COMMAND_PARAMETER, i32), module.i32.const(command | 0));
    // An address of the guest's: its low half is no zero either.
    const isReal = module.i32.ne(
      module.i32.wrap(module.local.get(ARGUMENT_PARAMETER, binaryen.i64)),
      module.i32.const(0),
    );
    const deny = module.block(null, [
      put(VERDICT.tag, 1),
      put(VERDICT.errno, errno),
      put(VERDICT.reason, 1),
      put(VERDICT.field, -1),
    ]);
    wrap(module, 'admit', CALL, { before: [], after: [module.if(module.i32.and(isIt, isReal), deny)] });
  });
}

/** The argument's place among the parameters of `admit`. */
const ARGUMENT_PARAMETER = 5;

/** With another manifest. */
export function manifested(good: PolicyPackage, fields: Partial<PolicyPackage['manifest']>): PolicyPackage {
  return {
    ...good,
    manifest: { ...good.manifest, ...fields },
    digest: digestOf(good.digest, JSON.stringify(fields)),
  };
}

function changed(
  good: PolicyPackage,
  what: string,
  change: (module: binaryen.Module) => void,
): PolicyPackage {
  const module = binaryen.readBinary(good.core);
  try {
    module.setFeatures(binaryen.Features.All);
    change(module);
    if (module.validate() !== 1) throw new Error(`The module that ${what} is not valid WebAssembly.`);
    const { manifest } = good;
    return {
      ...good,
      core: module.emitBinary(),
      manifest: { ...manifest, sequence: manifest.sequence + 1 },
      digest: digestOf(good.digest, what),
    };
  } finally {
    module.dispose();
  }
}

function digestOf(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex');
}
