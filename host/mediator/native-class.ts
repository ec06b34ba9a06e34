import type { NativeClass, NativeEnvelope, NativeForeground } from '../native.js';
import { accessBits, type ClassInfo } from '../policy/abi.js';
import type { Manifest } from '../policy/manifest.js';
import type { Judge } from './judge.js';

const OPERATION_BITS = { open: 1, ioctl: 2, read: 4, write: 8, mmap: 16, seek: 32 } as const;

/** A class as the native side enforces it: the manifest's envelope and the table that the module describes. */
export function nativeClassOf({ info, input: { manifest } }: Judge, onTrial: boolean): NativeClass {
  return {
    envelope: envelopeOf(manifest),
    exclusive: manifest.sharing === 'exclusive',
    onTrial,
    foreground: manifest.sharing === 'foreground' ? foregroundOf(manifest, info) : null,
    commands: info.commands.map(({ number, mask, head, access, nested, unsettled, steady, refused }) => ({
      number,
      mask,
      headBytes: head,
      access: accessBits(access),
      nested,
      unsettled,
      steady,
      refused: refused !== 0,
    })),
    unsettledTransfers: info.unsettledTransfers,
  };
}

function envelopeOf({ envelope }: Manifest): NativeEnvelope {
  return {
    ...envelope,
    operations: envelope.operations.reduce((bits, operation) => bits | OPERATION_BITS[operation], 0),
    ioctlTypes: envelope.ioctlTypes.map((type) => type.charCodeAt(0)),
  };
}

/**
 * What the manifest says of the foreground, by the numbers of the module's table.
 * @throws Error naming what the manifest lacks, or what the table does
 */
export function foregroundOf(manifest: Manifest, info: ClassInfo): NativeForeground {
  const { foreground } = manifest;
  if (foreground === undefined)
    throw new Error(
      `The class ${manifest.class} can't be shared by foreground: its manifest does not say what that means.`,
    );
  const rowOf = (name: string): number => {
    const row = info.commands.findIndex((command) => command.name === name);
    if (row < 0)
      throw new Error(`The manifest's foreground names ${name}, which the class's table does not have.`);
    return row;
  };
  const numberOf = (name: string): number => info.commands[rowOf(name)]?.number ?? 0;
  return {
    reads: foreground.reads,
    rows: foreground.commands.map(rowOf),
    handovers: foreground.handovers.map(({ take, give, always }) => ({
      take: numberOf(take.command),
      takeArgument: take.argument,
      give: numberOf(give.command),
      giveArgument: give.argument,
      always,
    })),
    replays: foreground.replays.map(({ command, offset }) => ({ row: rowOf(command), offset })),
  };
}
