import { existsSync } from 'node:fs';
import type { Device, FolderContent } from '../driver-vm/devices.js';

/** Where a guest's kernel has no such folder, the host leads there what the guest opens (native/addon/guest_view.cc). */
const STAND_IN = '/dev/.proc/asound';
const FOLDER = '/proc/asound';

/** A guest's sound devices, as /proc/asound numbers them. */
interface Sound {
  cards: Set<number>;
  /** Card, device and direction of each stream, such as '0-1-p'. */
  streams: Set<string>;
  minors: Set<number>;
}

/** Tables of /proc/asound of which a guest sees its own lines: what of a line tells whose it is. */
const TABLES: Readonly<Record<string, (line: string, sound: Sound) => boolean>> = {
  /** ' 16: [ 0- 0]: digital audio playback': the device file's minor number. */
  devices: (line, { minors }) => minors.has(Number.parseInt(line, 10)),
  /** '00-01: Loopback PCM : Loopback PCM : playback 8 : capture 8' */
  pcm: (line, { streams }) => {
    const [, card, device] = /^(\d+)-(\d+):/.exec(line) ?? [];
    return ['p', 'c'].some((direction) => streams.has(`${Number(card)}-${Number(device)}-${direction}`));
  },
  /** ' 0 snd_aloop' */
  modules: (line, { cards }) => cards.has(Number.parseInt(line, 10)),
  version: () => true,
};

/**
 * Lines of the launcher's plan for a guest's /proc/asound, as it is beside the driver when the guest begins: of the cards and streams
 * that the guest has, and nothing of others. Nothing for a guest without sound cards.
 * @param hasOwn whether this machine's kernel has such a folder, which is covered then
 */
export function procLines(devices: readonly Device[], hasOwn: boolean = existsSync(FOLDER)): string[][] {
  const sound = soundOf(devices);
  const content = devices.find((device) => device.proc !== undefined)?.proc;
  if (content === undefined) return [];
  const at = hasOwn ? FOLDER : STAND_IN;
  const begin = hasOwn ? [['tmpfs', FOLDER, '555']] : [['stand-ins'], ['dir', STAND_IN, '555']];
  return [...begin, ...contentLines(at, ownContent(content, sound))];
}

function soundOf(devices: readonly Device[]): Sound {
  const sound: Sound = { cards: new Set(), streams: new Set(), minors: new Set() };
  for (const { name, subsystem, minor } of devices) {
    if (subsystem !== 'sound') continue;
    sound.minors.add(minor);
    const [, card] = /^snd\/controlC(\d+)$/.exec(name) ?? [];
    if (card !== undefined) sound.cards.add(Number(card));
    const [, streamCard, device, direction] = /^snd\/pcmC(\d+)D(\d+)([pc])$/.exec(name) ?? [];
    if (device !== undefined) sound.streams.add(`${streamCard}-${device}-${direction}`);
  }
  return sound;
}

function ownContent({ files, links, folders = {} }: FolderContent, sound: Sound): FolderContent {
  const isOwn = (folder: string): boolean => sound.cards.has(Number(/^card(\d+)$/.exec(folder)?.[1] ?? -1));
  const tables = Object.entries(files).filter(([name]) => name in TABLES);
  const cards = Object.entries(folders).filter(([name]) => isOwn(name));
  return {
    files: {
      cards: ownCards(files.cards ?? '', sound),
      ...Object.fromEntries(tables.map(([name, text]) => [name, ownLines(name, text, sound)])),
    },
    links: Object.fromEntries(Object.entries(links).filter(([, target]) => isOwn(target))),
    folders: Object.fromEntries(cards.map(([name, card]) => [name, ownStreams(name, card, sound)])),
  };
}

function ownLines(name: string, text: string, sound: Sound): string {
  const lines = text.split(/(?<=\n)/);
  return lines.filter((line) => TABLES[name]?.(line, sound)).join('');
}

/** Two lines a card: ' 0 [Loopback ]: Loopback - Loopback' and, further in, its long name. */
function ownCards(text: string, { cards }: Sound): string {
  const pairs = text.split(/^(?=\s*\d+ \[)/m);
  return pairs.filter((pair) => cards.has(Number.parseInt(pair, 10))).join('');
}

/** Of a card, the streams that the guest does not have are another's. */
function ownStreams(name: string, card: FolderContent, { streams }: Sound): FolderContent {
  const number = name.slice('card'.length);
  const folders = Object.entries(card.folders ?? {}).filter(([folder]) => {
    const [, device, direction] = /^pcm(\d+)([pc])$/.exec(folder) ?? [];
    return device === undefined || streams.has(`${number}-${device}-${direction}`);
  });
  return { ...card, folders: Object.fromEntries(folders) };
}

function contentLines(at: string, { files, links, folders = {} }: FolderContent): string[][] {
  return [
    ...Object.entries(files).map(([name, text]) => [
      'file',
      `${at}/${name}`,
      Buffer.from(text).toString('hex'),
    ]),
    ...Object.entries(links).map(([name, target]) => ['symlink', target, `${at}/${name}`]),
    ...Object.entries(folders).flatMap(([name, folder]) => [
      ['dir', `${at}/${name}`, '555'],
      ...contentLines(`${at}/${name}`, folder),
    ]),
  ];
}
