import { type Call, type ClassInfo, type GuestReader, PolicyFault, PolicyInstance } from '../policy/abi.js';
import { envelopeFaults } from '../policy/command-envelope.js';
import { bytesOf, callOfVector, commandNumber, readerOf, type VectorFile } from '../policy/vectors.js';
import type { ModuleInput } from './messages.js';
import { foregroundOf } from './native-class.js';

/** The driver's answer to an operation that succeeded. */
const SUCCESS = 0n;

/** A call that the module is to judge, over a guest of its own. */
interface TrialCall {
  /** For the error. */
  name: string;
  call: Call;
  head: Uint8Array;
  read: GuestReader;
  outcome: bigint;
}

/**
 * Judges each command of the class's table with arguments of zeroes, over a guest whose memory is zeroes, then each call of the module's
 * test vectors, by one instance: a module that can't even do this is not fit. V8 compiles a function when it is first called, so what
 * guests will call is compiled then, by the thread that calls this.
 * @returns what is wrong with the module; undefined when nothing is
 */
export function warmUp({ module, manifest }: ModuleInput, vectors?: VectorFile): string | undefined {
  let trying = 'describe itself';
  let read: GuestReader = zeroes;
  try {
    const instance = new PolicyInstance(module, manifest, (...range) => read(...range));
    const info = instance.describe();
    if (info.class !== manifest.class)
      return `The module says that it is of the class '${info.class}', its manifest '${manifest.class}'.`;
    const beyond = envelopeFaults(info, manifest);
    if (beyond.length > 0) return `The module is beyond its envelope: ${beyond.join(' ')}`;
    if (manifest.foreground !== undefined) foregroundOf(manifest, info);
    for (const one of [...callsOf(info), ...(vectors === undefined ? [] : vectorCalls(vectors, info))]) {
      trying = `judge ${one.name}`;
      read = one.read;
      instance.admit(one.call, one.head);
      instance.complete(one.call, one.head, one.outcome);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof PolicyFault)) throw error;
    return `The module can't ${trying}: ${error.message}`;
  }
}

function zeroes(_address: bigint, bytes: number, memory: Uint8Array, at: number): number {
  memory.fill(0, at, at + bytes);
  return 0;
}

function callsOf(info: ClassInfo): TrialCall[] {
  const call: Call = {
    session: 1,
    node: 0,
    operation: 'open',
    command: 0,
    fileFlags: 0,
    argument: 0n,
    length: 0n,
    offset: 0n,
    state: 0n,
  };
  const trial = (name: string, call: Call, headBytes: number): TrialCall => ({
    name: `${name} with arguments of zeroes`,
    call,
    head: new Uint8Array(headBytes),
    read: zeroes,
    outcome: SUCCESS,
  });
  return [
    trial('open', call, 0),
    ...info.commands.map(({ name, number, head }) =>
      trial(name, { ...call, operation: 'ioctl', command: number }, head),
    ),
  ];
}

function vectorCalls({ vectors }: VectorFile, info: ClassInfo): TrialCall[] {
  return vectors.flatMap((vector) => {
    const command = commandNumber(vector, info);
    if (command === undefined) return [];
    return {
      name: `the call of its test vector '${vector.name}'`,
      call: callOfVector(vector, command),
      head: bytesOf(vector.head),
      read: readerOf(vector),
      outcome: BigInt(vector.outcome ?? 0),
    };
  });
}
