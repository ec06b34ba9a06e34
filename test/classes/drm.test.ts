import type { ChildProcess } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { closeDomain, everyServedDevice } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import type { Picture } from '../../host/driver-vm/screen.js';
import { runGuest } from '../../host/mediator/guest.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
const log = openLog({});
const MODE = { width: 1024, height: 768 };
/** libdrm's SMPTE pattern (tests/util/pattern.c): the bars of its upper two thirds, left to right. */
const BARS = [0xc0c0c0, 0xc0c000, 0x00c0c0, 0x00c000, 0xc000c0, 0xc00000, 0x0000c0];
const SETTING = 'setting mode 1024x768';

const vms: DriverVm[] = [];
afterEach(async () => {
  await Promise.all(vms.splice(0).map((vm) => closeDomain(vm)));
});

async function start(driver: string, shareRoot = false): Promise<DriverVm> {
  const vm = await startDriverVm({ drivers: [driver], shareRoot, log: () => {} });
  vms.push(vm);
  return vm;
}

interface Watcher {
  onStart?(launcher: ChildProcess): void;
  /** Sees everything that the guest has said so far. */
  onOutput?(output: string, launcher: ChildProcess): void;
}

async function guest(
  vm: DriverVm,
  [program = '', ...args]: readonly string[],
  { onStart, onOutput }: Watcher = {},
): Promise<{ output: string; exitCode: number | null }> {
  let output = '';
  const { exitCode } = await runGuest({
    program,
    args,
    devices: await everyServedDevice(vm),
    domain: vm,
    log,
    name: program,
    stdio: ['pipe', 'pipe', 'pipe'],
    onStart: (launcher) => {
      for (const stream of [launcher.stdout, launcher.stderr])
        stream?.on('data', (chunk: Buffer) => {
          output += chunk.toString();
          onOutput?.(output, launcher);
        });
      onStart?.(launcher);
    },
  });
  return { output, exitCode };
}

/** The picture once it is of the mode that the program sets, which is not the console's. */
async function pictureOfMode(vm: DriverVm): Promise<Picture> {
  for (;;) {
    const picture = await vm.picture();
    if (picture.width === MODE.width && picture.height === MODE.height && colourAt(picture, 4, 4) !== 0)
      return picture;
  }
}

function colourAt({ width, rgb }: Picture, x: number, y: number): number {
  return rgb.readUIntBE((y * width + x) * 3, 3);
}

async function guestPicture(vm: DriverVm, command: readonly string[]): Promise<Picture> {
  let picture: Promise<Picture> | undefined;
  const { exitCode } = await guest(vm, command, {
    onStart: (launcher) => {
      picture = pictureOfMode(vm).finally(() => launcher.stdin?.end('\n'));
    },
  });
  expect(exitCode).toBe(0);
  return (await picture) as Picture;
}

async function directPicture(vm: DriverVm, command: readonly string[]): Promise<Picture> {
  // Its input stays open until the picture has been taken: FIFOs of the VM's own.
  const script = `mkfifo /run/go; (sleep 60 >/run/go & echo $! >/run/pid); ${command.join(' ')} </run/go`;
  const end = vm.run(['sh', '-c', script], () => {});
  end.catch(() => {});
  return await pictureOfMode(vm);
}

describe.skipIf(!hasDriverVm)('modetest', () => {
  it.each([
    ['sets a mode', ['-s', '34:1024x768']],
    ['sets a mode atomically', ['-a', '-s', '34:1024x768', '-P', '31@33:1024x768']],
  ])('%s as a guest, and shows what it shows beside the driver', async (_, options) => {
    const command = ['modetest', '-M', 'virtio_gpu', ...options];
    const seen = await guestPicture(await start('virtio-gpu'), command);
    const bars = BARS.map((__, index) =>
      colourAt(seen, Math.floor((index + 0.5) * (MODE.width / BARS.length)), 100),
    );
    if (!options.includes('-a')) expect(bars).toEqual(BARS);
    const direct = await directPicture(await start('virtio-gpu', true), command);
    expect(seen.rgb.equals(direct.rgb)).toBe(true);
  });

  it('flips pages, and reads an event of each flip', async () => {
    const vm = await start('virtio-gpu');
    const { output } = await guest(vm, ['modetest', '-M', 'virtio_gpu', '-v', '-s', '34:1024x768'], {
      onOutput: (said, launcher) => {
        if (said.includes('freq:')) launcher.stdin?.end('\n');
      },
    });
    expect(output).toContain(SETTING);
    expect(output).toMatch(/freq: \d+\.\d+Hz/);
  });
});

/** What the test program said, by name. */
function resultsOf(output: string): Record<string, string> {
  return Object.fromEntries(
    output
      .trim()
      .split('\n')
      .map((line) => line.split(' ')),
  );
}

describe.skipIf(!hasDriverVm)('a guest of virtio_gpu', () => {
  const program = compileGuestProgram('drm', 'classes');

  it('maps its buffers, and is refused what would leave its own', async () => {
    const { output } = await guest(await start('virtio-gpu'), [program, '/dev/dri/card0', 'own']);
    expect(resultsOf(output)).toEqual({
      create: 'ok',
      'ask-offset': 'ok',
      map: 'ok',
      pages: 'ok',
      flink: 'ok',
      'open-own-name': 'ok',
      resources: 'ok',
      atomic: 'ok',
      fences: 'refused',
      export: 'ok',
      import: 'EINVAL',
    });
  });

  it('finds nothing of another guest, by any number', async () => {
    const vm = await start('virtio-gpu');
    let other: Promise<{ output: string }> | undefined;
    const { output } = await guest(vm, [program, '/dev/dri/card0', 'hold'], {
      onOutput: (said, launcher) => {
        if (other !== undefined || !said.includes('open-own-name ok')) return;
        other = guest(vm, [program, '/dev/dri/card0', 'scan']).finally(() => launcher.stdin?.end('\n'));
      },
    });
    expect(resultsOf(output)).toMatchObject({ map: 'ok', pages: 'ok', flink: 'ok' });
    expect(resultsOf((await other)?.output ?? '')).toEqual({
      'foreign-names': '0',
      'foreign-frames': '0',
      'foreign-magics': '0',
      'foreign-offsets': '0',
    });
  });
});

describe.skipIf(!hasDriverVm)('a number that the driver has given to another guest since', () => {
  const program = compileGuestProgram('drm', 'classes');

  it('names nothing of the first one', async () => {
    const vm = await start('virtio-gpu');
    const card = [program, '/dev/dri/card0'];
    let first: ChildProcess | undefined;
    let other: Promise<{ output: string }> | undefined;
    const { output } = await guest(vm, [...card, 'old-number'], {
      onStart: (launcher) => {
        first = launcher;
      },
      onOutput: (said) => {
        if (other !== undefined || !said.includes('remove ok')) return;
        // The first guest's program is told to go on while the other one holds its framebuffer.
        other = guest(vm, [...card, `hold-frame=${resultsOf(said).number}`], {
          onOutput: (heard, launcher) => {
            if (!heard.includes('held ok')) return;
            first?.once('exit', () => launcher.stdin?.end('\n'));
            first?.stdin?.end('\n');
          },
        });
      },
    });
    const own = resultsOf(output);
    expect(resultsOf((await other)?.output ?? '').number).toBe(own.number);
    expect(own).toMatchObject({ remove: 'ok', 'look-at-it': 'ENOENT', 'remove-again': 'ENOENT' });
  });
});

describe.skipIf(!hasDriverVm)('other drivers', () => {
  const program = compileGuestProgram('drm', 'classes');

  it('share the pages of vgem', async () => {
    const { output } = await guest(await start('vgem'), [program, '/dev/dri/card0', 'hold'], {
      onOutput: (said, launcher) => {
        if (said.includes('open-own-name')) launcher.stdin?.end('\n');
      },
    });
    expect(resultsOf(output)).toMatchObject({ create: 'ok', map: 'ok', pages: 'ok' });
  });

  it('lend no pages that move: bochs brings its buffers to video memory and back', async () => {
    const { output } = await guest(await start('bochs'), [program, '/dev/dri/card0', 'own']);
    expect(resultsOf(output)).toMatchObject({ create: 'ok', 'ask-offset': 'ok', map: 'ENODEV' });
  });
});
