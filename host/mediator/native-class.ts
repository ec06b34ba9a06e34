import type { NativeClass, NativeEnvelope } from '../native.js';
import { accessBits } from '../policy/abi.js';
import type { Manifest } from '../policy/manifest.js';
import type { Judge } from './judge.js';

const OPERATION_BITS = { open: 1, ioctl: 2, read: 4, write: 8, mmap: 16, seek: 32 } as const;

/** A class as the native side enforces it: the manifest's envelope and the table that the module describes. */
export function nativeClassOf({ info, input: { manifest } }: Judge, onTrial: boolean): NativeClass {
  return {
    envelope: envelopeOf(manifest),
    exclusive: manifest.sharing === 'exclusive',
    onTrial,
    commands: info.commands.map(({ number, mask, head, access, nested }) => ({
      number,
      mask,
      headBytes: head,
      access: accessBits(access),
      nested,
    })),
  };
}

function envelopeOf({ envelope }: Manifest): NativeEnvelope {
  return {
    ...envelope,
    operations: envelope.operations.reduce((bits, operation) => bits | OPERATION_BITS[operation], 0),
    ioctlTypes: envelope.ioctlTypes.map((type) => type.charCodeAt(0)),
  };
}
