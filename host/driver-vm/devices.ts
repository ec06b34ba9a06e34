import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { ROOT } from '../root.js';

/** What is in a folder of the driver domain's sysfs. */
export interface FolderContent {
  /** The attribute files of the folder with their text. */
  files: Record<string, string>;
  /** Those that are no text, in hexadecimal digits. */
  binaries?: Record<string, string>;
  /** The symbolic links of the folder with their targets. */
  links: Record<string, string>;
  /** Groups of attributes, and what hangs on the device without a device file of its own, by name. */
  folders?: Record<string, FolderContent>;
}

/** A folder of the driver domain's sysfs that stands for a device. */
export interface DeviceFolder extends FolderContent {
  /** Below /sys, such as '/devices/platform/vivid.0'. */
  sysfs: string;
}

/** A character device of the driver domain, as schemas/devices.schema.json describes it. */
export interface Device extends DeviceFolder {
  /** Relative to /dev, such as 'video0' or 'net/tun'; 'pts' stands for the folder of terminals that come and go. */
  name: string;
  major: number;
  minor: number;
  /** The sysfs class, such as 'video4linux'. */
  subsystem: string;
  /** The device's folder below /sys, such as '/devices/platform/vivid.0/video4linux/video0'; '' where there is none. */
  sysfs: string;
  /** A sound card's control device: the driver domain's /proc/asound. */
  proc?: FolderContent;
  /** The devices that it hangs on, from the nearest up. */
  parents?: DeviceFolder[];
}

const SCHEMA_FILE = join(ROOT, 'schemas', 'devices.schema.json');
// That the schema is one is checked by test/setup/schemas.test.ts, once and not at every start.
const isDeviceList = new Ajv({ allErrors: true, validateSchema: false }).compile<Device[]>(
  JSON.parse(readFileSync(SCHEMA_FILE, 'utf8')),
);
/** More errors of one kind say nothing new. */
const ERRORS_SHOWN = 10;

/**
 * Reads the agent's device list.
 * @throws Error with everything that is wrong with it
 */
export function parseDevices(payload: Buffer): Device[] {
  const list: unknown = parseJson(payload);
  if (isDeviceList(list)) return list;
  const errors = (isDeviceList.errors ?? []).map(
    ({ instancePath, message }) => `${instancePath || '/'} ${message}`,
  );
  throw refusal(errors.slice(0, ERRORS_SHOWN).join('; '));
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (error) {
    throw refusal((error as Error).message);
  }
}

function refusal(reason: string): Error {
  return new Error(`The backend agent's device list is not as schemas/devices.schema.json says: ${reason}.`);
}
