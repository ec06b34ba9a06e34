import { basename, dirname } from 'node:path';
import type { DeviceFolder } from '../driver-vm/devices.js';
import type { GuardedDevice } from '../mediator/world.js';

/** Sizes and numbers of native/protocol/vm_frontend.h. */
const DEVICE_BYTES = 152;
const NO_PARENT = 0xffffffff;
const ATTRIBUTE_BYTES = 64;
const NAME_BYTES = 64;
const CLASS_NAME_BYTES = 32;
const BUS_NAME_BYTES = 32;
const ATTRIBUTE_NAME_BYTES = 56;
const TABLE_OFFSET = 4096;
const CONTROL_BYTES = 1 << 20;
const MAGIC = 0x6e726574;
const VERSION = 3;
/** A sysfs file is at most a page, and the frontend keeps one byte of it. */
const TEXT_BYTES_MAX = 4095;
/** What every Linux device has of its own. */
const OWN_FILES = new Set(['dev']);
/** The lines of `uevent` that the kernel itself writes. */
const OWN_UEVENT_LINE = /^(?:MAJOR|MINOR|DEVNAME)=.*\n/gm;
/** A `subsystem` link to a bus: '../../../bus/pci'. */
const BUS_LINK = /^(?:\.\.\/)+bus\/([\w.:-]+)$/;

/**
 * What the frontend of a guest VM reads at its start: the control page and the device table, as one piece of memory.
 * @throws Error when a name is too long, or there is too much of it
 */
export function controlPages(devices: readonly GuardedDevice[], apertureBytes: number): Buffer {
  const entries = entriesOf(devices);
  const table = tableOf(entries);
  if (table.length > CONTROL_BYTES - TABLE_OFFSET)
    throw new Error(
      `The devices' files take ${table.length} bytes, more than a guest VM's device table holds.`,
    );
  const control = Buffer.alloc(TABLE_OFFSET);
  control.writeUInt32LE(MAGIC, 0);
  control.writeUInt32LE(VERSION, 4);
  control.writeUInt32LE(entries.length, 12);
  control.writeUInt32LE(table.length, 16);
  control.writeBigUInt64LE(BigInt(apertureBytes), 24);
  return Buffer.concat([control, table]);
}

/** A device of the table: one with a file, or one that others hang on. */
interface Entry {
  name: string;
  className: string;
  /** The bus that it is on, where it is of no class. */
  bus: string;
  major: number;
  minor: number;
  files: [string, Buffer][];
  parent: number;
}

function tableOf(entries: readonly Entry[]): Buffer {
  let attribute = entries.length * DEVICE_BYTES;
  let text = attribute + entries.flatMap(({ files }) => files).length * ATTRIBUTE_BYTES;
  const heads: Buffer[] = [];
  const attributes: Buffer[] = [];
  const texts: Buffer[] = [];
  for (const entry of entries) {
    heads.push(headOf(entry, attribute));
    attribute += entry.files.length * ATTRIBUTE_BYTES;
    for (const [name, content] of entry.files) {
      attributes.push(attributeOf(name, text, content.length));
      texts.push(content);
      text += content.length;
    }
  }
  return Buffer.concat([...heads, ...attributes, ...texts]);
}

/** The devices with files in their order, whose places operations name; behind them, once each, what they hang on. */
function entriesOf(devices: readonly GuardedDevice[]): Entry[] {
  const entries = devices.map(({ path, device }): Entry => {
    const { major, minor } = device;
    const name = path.replace(/^\/dev\//, '');
    return { ...folderEntry(name, device), className: classOf(device), major, minor };
  });
  const places = new Map<string, number>();
  devices.forEach(({ device }, i) => {
    let child = i;
    for (const folder of device.parents ?? []) {
      const known = places.get(folder.sysfs);
      const place = known ?? entries.length;
      (entries[child] as Entry).parent = place;
      if (known !== undefined) break;
      places.set(folder.sysfs, place);
      entries.push(folderEntry(basename(folder.sysfs), folder));
      child = place;
    }
  });
  return entries;
}

/** A folder that others hang on, so far on nothing itself. */
function folderEntry(name: string, { links, files }: DeviceFolder): Entry {
  return {
    name,
    className: '',
    bus: busOf(links),
    major: 0,
    minor: 0,
    files: filesOf(files),
    parent: NO_PARENT,
  };
}

/** A device of a class lies in a folder of that name, below the device that it hangs on or another of the class; one of a bus does not. */
function classOf({ sysfs, subsystem, parents }: GuardedDevice['device']): string {
  const parent = parents?.[0]?.sysfs;
  const isOfBus =
    parent !== undefined && dirname(sysfs) === parent && basename(dirname(parent)) !== subsystem;
  return isOfBus ? '' : subsystem;
}

function busOf(links: Record<string, string>): string {
  return BUS_LINK.exec(links.subsystem ?? '')?.[1] ?? '';
}

/** The device's own files, those in one folder below it included, that fit. */
function filesOf(files: Record<string, string>): [string, Buffer][] {
  return Object.entries(files)
    .map(([name, content]): [string, string] => [
      name,
      name === 'uevent' ? content.replace(OWN_UEVENT_LINE, '') : content,
    ])
    .map(([name, content]): [string, Buffer] => [name, Buffer.from(content)])
    .filter(
      ([name, content]) =>
        !OWN_FILES.has(name) &&
        Buffer.byteLength(name) < ATTRIBUTE_NAME_BYTES &&
        name.split('/').length <= 2 &&
        content.length <= TEXT_BYTES_MAX,
    );
}

function headOf(
  { name, className, bus, major, minor, files, parent }: Entry,
  attributeOffset: number,
): Buffer {
  const head = Buffer.alloc(DEVICE_BYTES);
  writeName(head, 0, NAME_BYTES, name);
  writeName(head, NAME_BYTES, CLASS_NAME_BYTES, className);
  [major, minor, files.length, attributeOffset, parent].forEach((value, i) => {
    head.writeUInt32LE(value, NAME_BYTES + CLASS_NAME_BYTES + 4 * i);
  });
  writeName(head, DEVICE_BYTES - BUS_NAME_BYTES, BUS_NAME_BYTES, bus);
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
