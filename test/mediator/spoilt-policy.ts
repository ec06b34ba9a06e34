import binaryen from 'binaryen';
import type { PolicyPackage } from '../../host/policy/store.js';

/** Terminal commands (asm-generic/ioctls.h) for which the spoilt policy goes wrong: what test/guests/misbehaving.c calls. */
const COMMANDS = {
  TIOCOUTQ: 0x5411,
  TIOCMGET: 0x5415,
  TIOCMBIS: 0x5416,
  TIOCGSOFTCAR: 0x5419,
  TIOCSTI: 0x5412,
  FIONREAD: 0x541b,
  TIOCGETD: 0x5424,
  TCFLSH: 0x540b,
  TIOCGEXCL: 0x80045440,
} as const;

/** Where the canonical ABI has the parts of a verdict and of a settlement. */
const VERDICT = {
  tag: 0,
  access: 4,
  errno: 4,
  grants: 8,
  grantCount: 12,
  forget: 40,
  forgetCount: 44,
  alone: 49,
} as const;
/** The end of a module's four pages, which it leaves zeroed. */
const LAST_BYTES = 4 * 65536 - 16;
/** What a verdict that allows takes at most. */
const VERDICT_BYTES = 52;
const SETTLEMENT = { lessonCount: 20 } as const;
/** Where a description has its commands, how many they are, and where a command says that nothing is to be settled of it. */
const DESCRIPTION = { commands: 8, count: 12 } as const;
const COMMAND = { bytes: 28, unsettled: 22 } as const;
/** More than the class has. */
const COMMANDS_MAX = 128;

const { i32, i64 } = binaryen;
/** call: session, node, operation, command, file flags; argument, length, offset, state; then the head. */
export const CALL = [i32, i32, i32, i32, i32, i64, i64, i64, i64, i32, i32];
const COMMAND_PARAMETER = 3;

/** The policy as it is, but for the commands above, where it traps, loops, or answers absurdly. */
export function spoiltPolicy(good: PolicyPackage, faultsMax: number): PolicyPackage {
  const module = binaryen.readBinary(good.core);
  module.setFeatures(binaryen.Features.All);
  const when = (command: keyof typeof COMMANDS, then: number): number =>
    module.if(
      module.i32.eq(module.local.get(COMMAND_PARAMETER, i32), module.i32.const(COMMANDS[command])),
      then,
    );
  const put = (offset: number, value: number, answer: number): number =>
    module.i32.store(offset, 4, module.local.get(answer, i32), module.i32.const(value));
  const answerLocal = CALL.length;
  wrap(module, 'admit', CALL, {
    before: [
      when('TIOCGSOFTCAR', module.unreachable()),
      when('TIOCGEXCL', module.loop('again', module.br('again'))),
    ],
    after: [
      when('TCFLSH', put(VERDICT.access, 2, answerLocal)),
      when(
        'TIOCMBIS',
        module.block(null, [put(VERDICT.grants, 0, answerLocal), put(VERDICT.grantCount, 1, answerLocal)]),
      ),
      when(
        'TIOCOUTQ',
        module.block(null, [put(VERDICT.tag, 1, answerLocal), put(VERDICT.errno, 100_000, answerLocal)]),
      ),
      // All zeroes: allowed, with nothing granted.
      when(
        'TIOCSTI',
        module.memory.fill(
          module.local.get(answerLocal, i32),
          module.i32.const(0),
          module.i32.const(VERDICT_BYTES),
        ),
      ),
      when(
        'TIOCMGET',
        module.local.set(
          answerLocal,
          module.i32.add(module.local.get(answerLocal, i32), module.i32.const(1)),
        ),
      ),
    ],
  });
  wrap(module, 'complete', [...CALL, i64], {
    before: [when('FIONREAD', module.unreachable())],
    after: [when('TIOCGETD', put(SETTLEMENT.lessonCount, -1, CALL.length + 1))],
  });
  wrap(module, 'describe', [], { before: [], after: settleAll(module) });
  if (module.validate() !== 1) throw new Error('The spoilt policy is not valid WebAssembly.');
  const core = module.emitBinary();
  module.dispose();
  const { manifest } = good;
  return { ...good, core, manifest: { ...manifest, envelope: { ...manifest.envelope, faultsMax } } };
}

/** Has the description say that every command is settled: what goes wrong there is to be met. */
function settleAll(module: binaryen.Module): number[] {
  const word = (offset: number): number => module.i32.load(offset, 4, module.local.get(0, i32));
  return Array.from({ length: COMMANDS_MAX }, (_, index) =>
    module.if(
      module.i32.gt_u(word(DESCRIPTION.count), module.i32.const(index)),
      module.i32.store8(
        index * COMMAND.bytes + COMMAND.unsettled,
        1,
        word(DESCRIPTION.commands),
        module.i32.const(0),
      ),
    ),
  );
}

/** The policy as it is, but that TIOCEXCL runs alone and TIOCNXCL ends what its file has learnt. */
export function exactingPolicy(good: PolicyPackage): PolicyPackage {
  const module = binaryen.readBinary(good.core);
  module.setFeatures(binaryen.Features.All);
  const answerOf = (): number => module.local.get(CALL.length, i32);
  const when = (command: number, ...then: number[]): number =>
    module.if(
      module.i32.eq(module.local.get(COMMAND_PARAMETER, i32), module.i32.const(command)),
      module.block(null, then),
    );
  wrap(module, 'admit', CALL, {
    before: [],
    after: [
      when(0x540c, module.i32.store8(VERDICT.alone, 1, answerOf(), module.i32.const(1))),
      // Zeroes: table 0, of no width.
      when(
        0x540d,
        module.i32.store(VERDICT.forget, 4, answerOf(), module.i32.const(LAST_BYTES)),
        module.i32.store(VERDICT.forgetCount, 4, answerOf(), module.i32.const(1)),
      ),
    ],
  });
  if (module.validate() !== 1) throw new Error('The exacting policy is not valid WebAssembly.');
  const core = module.emitBinary();
  module.dispose();
  return { ...good, core };
}

/** Puts code before and after an exported function, whose answer is in the local after its parameters. */
export function wrap(
  module: binaryen.Module,
  name: string,
  parameters: number[],
  { before, after }: { before: number[]; after: number[] },
): void {
  const inner = binaryen.getExportInfo(module.getExport(name)).value;
  const answer = parameters.length;
  const forwarded = parameters.map((type, index) => module.local.get(index, type));
  module.addFunction(
    `spoilt-${name}`,
    binaryen.createType(parameters),
    i32,
    [i32],
    module.block(
      null,
      [
        ...before,
        module.local.set(answer, module.call(inner, forwarded, i32)),
        ...after,
        module.local.get(answer, i32),
      ],
      i32,
    ),
  );
  module.removeExport(name);
  module.addFunctionExport(`spoilt-${name}`, name);
}

/** VIDIOC_G_EXT_CTRLS on x86-64, and the bytes of its argument. */
const COLLUDING_COMMAND = 0xc0205647;
const COLLUDING_HEAD_BYTES = 32;
/** Where a colluding policy has its answers: near the end of its pages. */
export const COLLUSION_AT = 4 * 65536 - 8192;
const READ_RESULT_AT = COLLUSION_AT - 16;

/** The camera's policy, but that it answers one command with the bytes that its guest has put behind the argument. */
export function colludingPolicy(good: PolicyPackage, imageBytes: number): PolicyPackage {
  const module = binaryen.readBinary(good.core);
  module.setFeatures(binaryen.Features.All);
  const argument = module.local.get(5, i64);
  const read = module.call(
    importedRead(module),
    [
      module.i64.add(argument, module.i64.extend_u(module.i32.const(COLLUDING_HEAD_BYTES))),
      module.i32.const(imageBytes),
      module.i32.const(READ_RESULT_AT),
    ],
    binaryen.none,
  );
  const copy = module.memory.copy(
    module.i32.const(COLLUSION_AT),
    module.i32.load(4, 4, module.i32.const(READ_RESULT_AT)),
    module.i32.const(imageBytes),
  );
  const isCommand = module.i32.eq(
    module.local.get(COMMAND_PARAMETER, i32),
    module.i32.const(COLLUDING_COMMAND | 0),
  );
  const answer = module.local.set(CALL.length, module.i32.const(COLLUSION_AT));
  wrap(module, 'admit', CALL, {
    before: [],
    after: [module.if(isCommand, module.block(null, [read, copy, answer]))],
  });
  if (module.validate() !== 1) throw new Error('The colluding policy is not valid WebAssembly.');
  const core = module.emitBinary();
  module.dispose();
  const { manifest } = good;
  // As many faults as there are plans: it is not quarantined.
  return {
    ...good,
    core,
    manifest: { ...manifest, envelope: { ...manifest.envelope, faultsMax: 1_000_000 } },
  };
}

/** The module's own name for the import by which it reads guest memory. */
function importedRead(module: binaryen.Module): string {
  for (let index = 0; index < module.getNumFunctions(); index++) {
    const { name, base } = binaryen.getFunctionInfo(module.getFunctionByIndex(index));
    if (base === 'read') return name;
  }
  throw new Error('The policy imports no function read.');
}
