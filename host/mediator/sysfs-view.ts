import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { basename, dirname, posix } from 'node:path';
import type { Device, FolderContent } from '../driver-vm/devices.js';

/** A folder, file or link that a guest's /sys shall have beside or instead of this machine's own. */
type Entry = Folder | { kind: 'file'; bytes: Buffer } | { kind: 'link'; target: string };

interface Folder {
  kind: 'folder';
  entries: Map<string, Entry>;
  /** It stands for a device of the driver domain: files and links of a device of this machine that has the same name are not its. */
  isMirrored: boolean;
}

/** A `subsystem` link to a class: '../../../class/input'. */
const CLASS_LINK = /^(?:\.\.\/)+class\/([\w.:-]+)$/;

/** Lines of the launcher's plan: what to keep before /sys is covered, and how to make it anew. */
export interface SysfsLines {
  keep: string[][];
  make: string[][];
}

/**
 * A /sys for a guest: this machine's own, and in it the guarded devices' folders with their class and number links, as they are
 * beside their driver. Only folders that need a change are made anew; everything else is this machine's, bound in place.
 */
export function sysfsLines(devices: readonly Device[]): SysfsLines {
  const wanted = newFolder();
  for (const device of devices) if (device.sysfs !== '') addDevice(wanted, device);
  const lines: SysfsLines = { keep: [], make: [] };
  if (wanted.entries.size === 0) return lines;
  lines.make.push(['tmpfs', '/sys', '755']);
  merge('/sys', wanted, lines);
  return lines;
}

function addDevice(root: Entry, device: Device): void {
  for (const one of [device, ...(device.parents ?? [])]) addFolder(root, one.sysfs, one);
  link(root, `/dev/char/${device.major}:${device.minor}`, device.sysfs);
}

function addFolder(root: Entry, sysfs: string, content: FolderContent): void {
  const { files, binaries = {}, links, folders = {} } = content;
  for (const [name, text] of Object.entries(files))
    put(root, posix.join(sysfs, name), { kind: 'file', bytes: Buffer.from(text) });
  for (const [name, hex] of Object.entries(binaries))
    put(root, posix.join(sysfs, name), { kind: 'file', bytes: Buffer.from(hex, 'hex') });
  for (const [name, target] of Object.entries(links))
    put(root, posix.join(sysfs, name), { kind: 'link', target });
  for (const [name, folder] of Object.entries(folders)) addFolder(root, posix.join(sysfs, name), folder);
  const folder = entryAt(root, sysfs);
  if (folder?.kind === 'folder') folder.isMirrored = true;
  // Every device is listed in its class, those that others hang on too.
  const subsystem = CLASS_LINK.exec(links.subsystem ?? '')?.[1];
  if (subsystem !== undefined) link(root, `/class/${subsystem}/${basename(sysfs)}`, sysfs);
}

function newFolder(): Folder {
  return { kind: 'folder', entries: new Map(), isMirrored: false };
}

function entryAt(root: Entry, path: string): Entry | undefined {
  let entry: Entry | undefined = root;
  for (const part of path.split('/').filter((name) => name !== ''))
    entry = entry?.kind === 'folder' ? entry.entries.get(part) : undefined;
  return entry;
}

/** A relative link, as the kernel makes them. */
function link(root: Entry, at: string, to: string): void {
  put(root, at, { kind: 'link', target: posix.relative(dirname(at), to) });
}

function put(root: Entry, path: string, entry: Entry): void {
  const parts = path.split('/').filter((part) => part !== '');
  const last = parts.pop();
  if (last === undefined || parts.includes('..') || last === '..') return;
  let folder: Entry = root;
  for (const part of parts) {
    if (folder.kind !== 'folder') return;
    const next: Entry = folder.entries.get(part) ?? newFolder();
    folder.entries.set(part, next);
    folder = next;
  }
  if (folder.kind === 'folder') folder.entries.set(last, entry);
}

/** Fills the fresh folder `path` with what is wanted, and with this machine's own entries beside it. */
function merge(path: string, { entries, isMirrored }: Folder, lines: SysfsLines): void {
  for (const name of ownEntries(path)) {
    if (entries.has(name) || (isMirrored && !lstatSync(`${path}/${name}`).isDirectory())) continue;
    keepOwn(`${path}/${name}`, lines);
  }
  for (const [name, entry] of entries) {
    const at = `${path}/${name}`;
    if (entry.kind === 'file') lines.make.push(['file', at, entry.bytes.toString('hex')]);
    else if (entry.kind === 'link') lines.make.push(['symlink', entry.target, at]);
    else {
      lines.make.push(['dir', at, '755']);
      merge(at, entry, lines);
    }
  }
}

function ownEntries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // This machine has no such folder.
  }
}

function keepOwn(path: string, lines: SysfsLines): void {
  if (lstatSync(path).isSymbolicLink()) {
    lines.make.push(['symlink', readlinkSync(path), path]);
    return;
  }
  lines.keep.push(['keep', path]);
  lines.make.push(['attach', path]);
}
