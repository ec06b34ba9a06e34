import { InvalidArgumentError } from 'commander';

/** One `--device NAME[=PATH]`. */
export interface DeviceChoice {
  /** The device's name in the driver domain, below /dev: `video0`, `snd/pcmC0D0p`. */
  name: string;
  /** Where the guest sees it, an absolute path below /dev. */
  path: string;
}

/** A path below /dev without empty, `.` or `..` parts. */
const NAME = /^(?!\.{1,2}(\/|$))[\w.:-]+(\/(?!\.{1,2}(\/|$))[\w.:-]+)*$/;

/**
 * Adds one `--device` to those before it.
 * @throws InvalidArgumentError naming what was expected
 */
export function parseDevice(text: string, before: DeviceChoice[] = []): DeviceChoice[] {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const path = equals < 0 ? `/dev/${name}` : text.slice(equals + 1);
  if (!NAME.test(name)) throw new InvalidArgumentError(`'${name}' is not a device name such as video0.`);
  if (!path.startsWith('/dev/') || !NAME.test(path.slice('/dev/'.length)))
    throw new InvalidArgumentError(`'${path}' is not a path below /dev such as /dev/video0.`);
  if (before.some((other) => other.path === path))
    throw new InvalidArgumentError(`${path} is given twice; a path can stand for one device only.`);
  return [...before, { name, path }];
}
