/** What a QEMU of the user's own is told, so that its guest has Postern's devices. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ROOT } from '../root.js';

/** Where native/vm-exec places what it gets, in this order. */
export const ATTACHED_DESCRIPTORS = {
  ram: 900,
  aperture: 901,
  driverMemory: 902,
  driverMemoryReadOnly: 903,
  gifts: 904,
} as const;
/** What QEMU gives a machine that says nothing of its memory (docs, `-m`). */
const MEMORY_MIB_DEFAULT = 128;
const BYTES_PER_MIB = 1 << 20;
/** Up to here RAM is in one piece on every PC; beyond, only where q35 puts it is known to the host (native/addon/vm_memory.h). */
const ONE_PIECE_BYTES = 2 ** 31;
/** `-m 2G`, `-m size=2G,slots=2`: a number without unit is MiB. */
const MEMORY = /^(?:size=)?(\d+)([kKmMgGtT]?)[bB]?(?:,.*)?$/;
const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1 << 20, g: 2 ** 30, t: 2 ** 40 };

const validate = new Ajv2020({ allErrors: true }).compile<{ arguments: string[] }>(
  JSON.parse(readFileSync(join(ROOT, 'schemas', 'vm-attach.schema.json'), 'utf8')),
);

/**
 * QEMU's path and arguments, as native/vm-exec sends them.
 * @throws Error with what is wrong, and where
 */
export function parseAttachment(line: string): string[] {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch (error) {
    throw new Error(`The request is no JSON: ${(error as Error).message}`);
  }
  if (!validate(request)) {
    const errors = validate.errors ?? [];
    throw new Error(`The request ${errors.map((one) => `${one.instancePath} ${one.message}`).join('; ')}.`);
  }
  return request.arguments;
}

/**
 * How much memory a QEMU will give its guest.
 * @throws Error when its memory can't be the host's file, or is where the host would not find it
 */
export function memoryBytesOf(qemu: readonly string[]): number {
  if (optionOf(qemu, 'numa') !== undefined)
    throw new Error(
      '`-numa` gives each node memory of its own, but Postern must have all of it in one file.',
    );
  const text = optionOf(qemu, 'm') ?? String(MEMORY_MIB_DEFAULT);
  const found = MEMORY.exec(text);
  if (found === null)
    throw new Error(`\`-m ${text}\` is no size that Postern understands: write \`-m 1024M\`.`);
  const bytes = Number(found[1]) * (UNITS[(found[2] || 'm').toLowerCase()] as number);
  if (bytes < BYTES_PER_MIB) throw new Error(`\`-m ${text}\` is less than a machine can have.`);
  const machine = optionOf(qemu, 'machine') ?? optionOf(qemu, 'M') ?? 'pc';
  if (bytes > ONE_PIECE_BYTES && !/^(?:type=)?(?:pc-)?q35/.test(machine))
    throw new Error(
      `A machine '${machine}' of more than 2 GiB has its memory where Postern does not look for it: use \`-machine q35\`.`,
    );
  return bytes;
}

/** The last value of an option, which is the one that counts. */
function optionOf(qemu: readonly string[], name: string): string | undefined {
  const at = Math.max(qemu.lastIndexOf(`-${name}`), qemu.lastIndexOf(`--${name}`));
  return at < 0 ? undefined : qemu[at + 1];
}

/** What is added to QEMU's arguments: the guest's memory as a file that the host has too, and the device that its frontend drives. */
export function addedArguments(qemu: readonly string[], memoryBytes: number): string[] {
  const { ram, aperture } = ATTACHED_DESCRIPTORS;
  return [
    '-object',
    `memory-backend-file,id=postern-ram,size=${memoryBytes},mem-path=/proc/self/fd/${ram},share=on`,
    ...['-machine', 'memory-backend=postern-ram'],
    ...['-chardev', `socket,id=postern,fd=${aperture}`],
    ...['-device', 'ivshmem-doorbell,chardev=postern,vectors=1'],
    ...possibleProcessors(qemu),
  ];
}

/**
 * With a single possible processor an emulating QEMU leaves out the order and atomicity of the guest's memory accesses, which the host sees
 * from another one: there must be two, of which one need not be there.
 */
function possibleProcessors(qemu: readonly string[]): string[] {
  const text = optionOf(qemu, 'smp') ?? '1';
  const numbers = [...text.matchAll(/(?:^|,)(?:cpus=|maxcpus=|sockets=|dies=|cores=|threads=)?(\d+)/g)];
  return numbers.some(([, number]) => Number(number) > 1) ? [] : ['-smp', 'cpus=1,maxcpus=2'];
}
