import type { Access, ClassInfo, Command } from './__generated__/postern-device-types.js';
import type { AccessName, EnvelopeCommand, Manifest } from './manifest.js';

/** Where a command has its type (_IOC_TYPESHIFT), and the bits of it. */
const TYPE_SHIFT = 8;
const TYPE_BITS = 0xff00;

/** The commands that a class lets through to the driver, as an envelope lists them: refused ones never get there. */
export function envelopeCommands({ commands }: ClassInfo): EnvelopeCommand[] {
  return commands.filter(({ refused }) => refused === 0).map(asEnvelopeCommand);
}

/**
 * In what a module describes more than its manifest's envelope allows, in sentences; empty when it stays within. A manifest without
 * commands is one that was never built into a package: its envelope bounds sizes and types only.
 */
export function envelopeFaults({ commands }: ClassInfo, { envelope }: Manifest): string[] {
  const live = commands.filter(({ refused }) => refused === 0);
  return live.flatMap((row) => [
    ...(row.head > envelope.argumentBytesMax
      ? [`${row.name} takes ${row.head} bytes, the envelope allows ${envelope.argumentBytesMax}.`]
      : []),
    ...(isTypeAllowed(row, envelope.ioctlTypes)
      ? []
      : [`${row.name} has a type that the envelope does not allow.`]),
    ...(envelope.commands === undefined || envelope.commands.some((allowed) => covers(allowed, row))
      ? []
      : [`${row.name} (${hexadecimal(row.number)}) is not in the envelope, or goes beyond it.`]),
  ]);
}

/** A command's number as manifests have it. */
export function hexadecimal(number: number): string {
  return `0x${(number >>> 0).toString(16).padStart(8, '0')}`;
}

/** An `access` by its names in the contract. */
export function accessNames(access: Access): AccessName[] {
  return [
    ...(access.toDriver ? (['to-driver'] as const) : []),
    ...(access.fromDriver ? (['from-driver'] as const) : []),
    ...(access.fromDriverOnError ? (['from-driver-on-error'] as const) : []),
  ];
}

function asEnvelopeCommand({ name, number, mask, head, access, nested }: Command): EnvelopeCommand {
  return {
    name,
    number: hexadecimal(number),
    mask: hexadecimal(mask),
    headBytes: head,
    access: accessNames(access),
    nested,
  };
}

/** Whether every command of the row is one of the envelope's, with no more bytes, no other direction and no more regions. */
function covers(allowed: EnvelopeCommand, row: Command): boolean {
  const mask = Number(allowed.mask) >>> 0;
  return (
    (row.mask & mask) >>> 0 === mask &&
    (row.number & mask) >>> 0 === Number(allowed.number) &&
    row.head <= allowed.headBytes &&
    accessNames(row.access).every((name) => allowed.access.includes(name)) &&
    (allowed.nested || !row.nested)
  );
}

/** A row that leaves its type open is bounded by the host, command by command. */
function isTypeAllowed({ number, mask }: Command, types: readonly string[]): boolean {
  if ((mask & TYPE_BITS) !== TYPE_BITS) return true;
  return types.some((type) => type.charCodeAt(0) === (number >>> TYPE_SHIFT) % 256);
}
