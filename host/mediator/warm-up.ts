import { type Call, type ClassInfo, PolicyFault, PolicyInstance } from '../policy/abi.js';
import { envelopeFaults } from '../policy/command-envelope.js';
import type { ModuleInput } from './messages.js';
import { foregroundOf } from './native-class.js';

/**
 * V8 compiles a function when it is first called; what guests call often it compiles better, beside their calls. More rounds here would
 * have it do that for every function at once, which takes the processors from the guests.
 */
const ROUNDS = 3;
/** The driver's answer to an operation that succeeded. */
const SUCCESS = 0n;

/**
 * Judges each command of the class's table with arguments of zeroes, over a guest whose memory is zeroes: a module that can't even do
 * this is not fit, and one that can is compiled when it has.
 * @returns what is wrong with the module; undefined when nothing is
 */
export function warmUp({ module, manifest }: ModuleInput): string | undefined {
  let trying = 'describe itself';
  try {
    const instance = new PolicyInstance(module, manifest, zeroes);
    const info = instance.describe();
    if (info.class !== manifest.class)
      return `The module says that it is of the class '${info.class}', its manifest '${manifest.class}'.`;
    const beyond = envelopeFaults(info, manifest);
    if (beyond.length > 0) return `The module is beyond its envelope: ${beyond.join(' ')}`;
    if (manifest.foreground !== undefined) foregroundOf(manifest, info);
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, call, head] of callsOf(info)) {
        trying = `judge ${name} with arguments of zeroes`;
        instance.admit(call, head);
        instance.complete(call, head, SUCCESS);
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

function callsOf(info: ClassInfo): [name: string, call: Call, head: Uint8Array][] {
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
  const none = new Uint8Array(0);
  return [
    ['open', call, none],
    ...info.commands.map(({ name, number, head }): [string, Call, Uint8Array] => [
      name,
      { ...call, operation: 'ioctl', command: number },
      new Uint8Array(head),
    ]),
  ];
}
