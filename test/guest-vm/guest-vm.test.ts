import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { type GuestVm, startGuestVm } from '../../host/guest-vm/guest-vm.js';
import { Bench, CAMERA, type Cases, caseNames, casesOf } from '../mediator/support.js';

/** Guest programs whose every case prints the same in a guest VM and beside the driver, but for those below. */
const PROGRAMS = ['blocking_video', 'mapping', 'readiness_video', 'bad_input_video'];
/** What the envelope bounds, what lies behind a mapping, and when an error is there for whoever polls, are as in a process guest. */
const DIFFERENT = new Set(['payloads without end', 'beyond the end', 'not streaming']);
const STILL =
  'v4l2-ctl --set-ctrl=osd_text_mode=2 --set-fmt-video=width=320,height=180,pixelformat=YUYV' +
  ' --stream-mmap --stream-count=1 --stream-to=/dev/shm/postern-frame >/dev/null 2>&1' +
  ' && sha256sum </dev/shm/postern-frame && rm /dev/shm/postern-frame';

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest VM with a camera', () => {
  let bench: Awaited<ReturnType<typeof Bench.vm>>;
  let vm: GuestVm;
  const records: Record<string, unknown>[] = [];

  const start = (): Promise<GuestVm> =>
    startGuestVm({
      domain: bench.domain,
      devices: CAMERA,
      log: pino({ level: 'info' }, { write: (line) => records.push(JSON.parse(line)) }),
      name: 'vm',
      progress: () => undefined,
    });

  async function output(command: readonly string[], machine = vm): Promise<string> {
    let text = '';
    const { code, signal } = await machine.run(command, (chunk) => {
      text += chunk.toString();
    });
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code ?? signal}: ${text}`);
    return text;
  }

  beforeAll(async () => {
    bench = await Bench.vm(['vivid'], true);
    vm = await start();
  });
  afterAll(async () => {
    await vm.close();
    await bench.close();
  });

  it('has the device file, and finds it in sysfs as beside the driver', async () => {
    const command = [
      'sh',
      '-c',
      'stat -c "%t %T %F" /dev/video0; cat /sys/class/video4linux/video0/name /sys/dev/char/81:0/index; ls /sys/dev/char/81:0/device/ | grep video4linux; v4l2-ctl --all | head -20',
    ];
    expect(await output(command)).toBe(await bench.beside(command));
  });

  describe('runs programs', () => {
    const direct: Cases = new Map();
    const guest: Cases = new Map();
    const all = PROGRAMS.flatMap((program) => caseNames(program).map((name) => ({ program, name })));

    beforeAll(async () => {
      for (const program of PROGRAMS) {
        for (const [name, lines] of await bench.directCases(program))
          direct.set(`${program}: ${name}`, lines);
        const printed = await output([compileGuestProgram(program)]);
        for (const [name, lines] of casesOf(printed)) guest.set(`${program}: ${name}`, lines);
      }
    });

    it.each(all.filter(({ name }) => !DIFFERENT.has(name)))(
      '$program, $name: as beside the driver',
      ({ program, name }) => {
        const lines = guest.get(`${program}: ${name}`);
        expect(lines).toEqual(direct.get(`${program}: ${name}`));
        expect(lines).not.toEqual([]);
      },
    );
  });

  it('sees the same first frame, byte for byte, as a program beside the driver and as a process guest', async () => {
    const beside = await bench.beside(['sh', '-c', STILL]);
    expect(beside).toMatch(/^[0-9a-f]{64} {2}-\n$/);
    expect(await output(['sh', '-c', STILL])).toBe(beside);
    expect((await bench.guest(['sh', '-c', STILL])).out).toBe(beside);
  });

  it('is refused what a process guest is refused, and the log says why', async () => {
    const wanted = 'memory of the guest is not lent to the driver';
    const before = records.length;
    await vm.run(['v4l2-ctl', '--stream-user', '--stream-count=1'], () => undefined);
    const denials = records.slice(before).filter(({ msg }) => msg === 'denied');
    expect(denials.map(({ reason }) => reason)).toContainEqual(expect.stringContaining(wanted));
  });

  it('shares the driver VM with another guest VM, whose end, by whatever means, it does not notice', async () => {
    const other = await start();
    const ended = new Promise<string>((resolve) => other.onExit(resolve));
    let streamed = '';
    const streaming = other
      .run(['v4l2-ctl', '--stream-mmap', '--stream-count=100000'], (chunk) => {
        streamed += chunk.toString();
      })
      .catch((error: Error) => error.message);
    await expect.poll(() => streamed, { timeout: 60_000, interval: 50 }).toContain('<<<');
    expect(await output(['v4l2-ctl', '--get-ctrl=brightness'])).toMatch(/^brightness: \d+/);
    // The other has the buffers: the driver says so, not the boundary.
    expect(await output(['sh', '-c', 'v4l2-ctl --stream-mmap --stream-count=1 2>&1 || true'])).toContain(
      'Device or resource busy',
    );
    process.kill(other.pid, 'SIGSTOP');
    expect(await output(['v4l2-ctl', '--get-ctrl=contrast'])).toMatch(/^contrast: \d+/);
    process.kill(other.pid, 'SIGKILL');
    expect(await ended).toContain('SIGKILL');
    expect(await streaming).toContain('has ended');
    await other.close();
    // What it had mapped has been taken from it, and its stream has ended: this one may have the buffers now.
    await expect
      .poll(() => output(['sh', '-c', `${STILL} 2>&1 || true`]), { timeout: 60_000, interval: 200 })
      .toMatch(/^[0-9a-f]{64}/);
  });

  it('may panic: its program ends with the reason, and the other goes on', async () => {
    const other = await start();
    const panicking = ['sh', '-c', 'exec 3</dev/video0; echo c >/proc/sysrq-trigger; sleep 60'];
    await expect(other.run(panicking, () => undefined)).rejects.toThrow(/its kernel panicked: sysrq/);
    await other.close();
    expect(await output(['sh', '-c', STILL])).toMatch(/^[0-9a-f]{64}/);
  });

  it('may scribble all over its aperture: it spoils its own device, and nothing else', async () => {
    const hostile = await start();
    const printed = await output([compileGuestProgram('aperture_scribbler')], hostile);
    expect(printed).toContain('scribbled');
    // Nothing of the driver VM's was there to be read: the aperture has only what is mapped.
    expect(printed).toContain('pages that were not empty: 0');
    expect(await output(['v4l2-ctl', '--get-ctrl=brightness'])).toMatch(/^brightness: \d+/);
    await hostile.close();
    expect(await output(['sh', '-c', STILL])).toMatch(/^[0-9a-f]{64}/);
  });
});
