import type { GuardedDevice } from '../mediator/world.js';

/** Sizes and numbers of native/protocol/vm_frontend.h. */
const DEVICE_BYTES = 112;
const ATTRIBUTE_BYTES = 64;
const NAME_BYTES = 64;
const CLASS_NAME_BYTES = 32;
const ATTRIBUTE_NAME_BYTES = 56;
const TABLE_OFFSET = 4096;
const CONTROL_BYTES = 1 << 20;
const MAGIC = 0x6e726574;
const VERSION = 1;
/** A sysfs file is at most a page, and the frontend keeps one byte of it. */
const TEXT_BYTES_MAX = 4095;
/** What every Linux device has of its own. */
const OWN_FILES = new Set(['dev', 'uevent']);

/**
 * What the frontend of a guest VM reads at its start: the control page and the device table, as one piece of memory.
 * @throws Error when a name is too long, or there is too much of it
 */
export function controlPages(devices: readonly GuardedDevice[], apertureBytes: number): Buffer {
  const table = tableOf(devices);
  if (table.length > CONTROL_BYTES - TABLE_OFFSET)
    throw new Error(
      `The devices' files take ${table.length} bytes, more than a guest VM's device table holds.`,
    );
  const control = Buffer.alloc(TABLE_OFFSET);
  control.writeUInt32LE(MAGIC, 0);
  control.writeUInt32LE(VERSION, 4);
  control.writeUInt32LE(devices.length, 12);
  control.writeUInt32LE(table.length, 16);
  control.writeBigUInt64LE(BigInt(apertureBytes), 24);
  return Buffer.concat([control, table]);
}

function tableOf(devices: readonly GuardedDevice[]): Buffer {
  const files = devices.map(({ device }) => filesOf(device.files));
  let attribute = devices.length * DEVICE_BYTES;
  let text = attribute + files.flat().length * ATTRIBUTE_BYTES;
  const heads: Buffer[] = [];
  const attributes: Buffer[] = [];
  const texts: Buffer[] = [];
  devices.forEach((guarded, i) => {
    const own = files[i] ?? [];
    heads.push(headOf(guarded, own.length, attribute));
    attribute += own.length * ATTRIBUTE_BYTES;
    for (const [name, content] of own) {
      attributes.push(attributeOf(name, text, content.length));
      texts.push(content);
      text += content.length;
    }
  });
  return Buffer.concat([...heads, ...attributes, ...texts]);
}

/** The device's own files, those in one folder below it included, that fit. */
function filesOf(files: Record<string, string>): [string, Buffer][] {
  return Object.entries(files)
    .map(([name, content]): [string, Buffer] => [name, Buffer.from(content)])
    .filter(
      ([name, content]) =>
        !OWN_FILES.has(name) &&
        Buffer.byteLength(name) < ATTRIBUTE_NAME_BYTES &&
        name.split('/').length <= 2 &&
        content.length <= TEXT_BYTES_MAX,
    );
}

function headOf({ path, device }: GuardedDevice, attributes: number, attributeOffset: number): Buffer {
  const head = Buffer.alloc(DEVICE_BYTES);
  writeName(head, 0, NAME_BYTES, path.replace(/^\/dev\//, ''));
  writeName(head, NAME_BYTES, CLASS_NAME_BYTES, device.subsystem);
  [device.major, device.minor, attributes, attributeOffset].forEach((value, i) => {
    head.writeUInt32LE(value, NAME_BYTES + CLASS_NAME_BYTES + 4 * i);
  });
  return head;
}

function attributeOf(name: string, offset: number, bytes: number): Buffer {
  const entry = Buffer.alloc(ATTRIBUTE_BYTES);
  writeName(entry, 0, ATTRIBUTE_NAME_BYTES, name);
  entry.writeUInt32LE(offset, ATTRIBUTE_NAME_BYTES);
  entry.writeUInt32LE(bytes, ATTRIBUTE_NAME_BYTES + 4);
  return entry;
}

function writeName(to: Buffer, at: number, room: number, name: string): void {
  const bytes = Buffer.from(name);
  if (bytes.length >= room)
    throw new Error(`The name '${name}' is too long for a guest VM: ${room - 1} bytes at most.`);
  bytes.copy(to, at);
}
