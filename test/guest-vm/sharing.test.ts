import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { type GuestVm, startGuestVm } from '../../host/guest-vm/guest-vm.js';
import type { Mediation } from '../../host/mediator/mediation.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { loadPolicies } from '../../host/policy/store.js';
import { until } from '../cli/postern.js';
import { Bench } from '../mediator/support.js';

/** A keyboard, first, because vivid makes input devices too. */
const DRIVERS = ['virtio-input', 'vivid'];
const CAMERA = '/dev/video0';
const KEYBOARD = '/dev/input/event1';
const DEVICES = [
  { name: 'video0', path: CAMERA },
  { name: 'input/event1', path: KEYBOARD },
];
const SHARING: Record<string, Manifest['sharing']> = { v4l2: 'exclusive', evdev: 'foreground' };
/** Says that it has the camera, keeps it until its standard input ends, and has another program of the same guest open it before it closes it. */
const HOLD = [
  'perl',
  '-e',
  `$| = 1; open(my $file, "+<", "${CAMERA}") or die $!; print "held\\n"; <STDIN>; system("v4l2-ctl --get-ctrl=brightness"); close $file;`,
];
/** Opens the camera and asks it for something. */
const ASK = ['v4l2-ctl', '--get-ctrl=brightness'];
const BUSY = 'Device or resource busy';
/** What test/guests-input/events.c prints of a key pressed and let go: linux/input-event-codes.h. */
const KEYS = { a: '1 30 1\n1 30 0\n', b: '1 48 1\n1 48 0\n', f12: '1 88 1\n1 88 0\n' };

/** A program of a guest VM that runs on while the test goes on. */
class Running {
  out = '';
  readonly input = new PassThrough();
  readonly ended: Promise<number | null>;
  #hasEnded = false;

  constructor(vm: GuestVm, command: readonly string[]) {
    const take = (chunk: Uint8Array): void => {
      this.out += Buffer.from(chunk).toString();
    };
    this.ended = vm.run(command, take, this.input).then(({ code }) => code);
    const end = (): void => {
      this.#hasEnded = true;
    };
    this.ended.then(end, end); // Whoever awaits it is told why.
  }

  async printed(text: string): Promise<void> {
    await until(() => this.#hasEnded || this.out.includes(text), `the program to print '${text}'`);
    if (!this.out.includes(text)) throw new Error(`It ended before it printed '${text}': ${this.out}`);
  }
}

describe.skipIf(!allOk(examineMachine(), 'required'))(
  'two guest VMs and a process guest on one driver VM',
  () => {
    const policies = loadPolicies().map((policy) => {
      const sharing = SHARING[policy.manifest.class] ?? policy.manifest.sharing;
      return { ...policy, manifest: { ...policy.manifest, sharing } };
    });
    let bench: Awaited<ReturnType<typeof Bench.vm>>;
    const vms: GuestVm[] = [];
    const mediations: Mediation[] = [];

    const vm = (index: number): GuestVm => vms[index] as GuestVm;

    async function start(name: string): Promise<GuestVm> {
      return await startGuestVm({
        ...{ domain: bench.domain, devices: DEVICES, policies, log: openLog({}), name },
        onMediation: (made) => mediations.push(made),
        progress: () => undefined,
      });
    }

    async function ask(machine: GuestVm): Promise<string> {
      let out = '';
      await machine.run(ASK, (chunk) => {
        out += Buffer.from(chunk).toString();
      });
      return out;
    }

    async function askAsProcess(): Promise<string> {
      const { out, err } = await bench.guest(ASK, { devices: DEVICES, policies });
      return out + err;
    }

    beforeAll(async () => {
      bench = await Bench.vm(DRIVERS);
      vms.push(await start('first'), await start('second'));
    });
    afterAll(async () => {
      for (const each of vms) await each.close();
      await bench.close();
    });

    it('have an exclusive device one at a time, whoever the others are, and each in turn', async () => {
      const holder = new Running(vm(0), HOLD);
      await holder.printed('held');
      expect(await ask(vm(1))).toContain(BUSY);
      expect(await askAsProcess()).toContain(BUSY);
      holder.input.end();
      expect(await holder.ended).toBe(0);
      // The guest that has it may open it again.
      expect(holder.out).toMatch(/^held\nbrightness: \d+\n$/);
      await until(
        async () => (await ask(vm(1))).startsWith('brightness'),
        'the second VM to have the camera',
      );

      const holding = await bench.start(HOLD, { devices: DEVICES, policies });
      await until(() => holding.out.includes('held'), 'the process guest to have the camera');
      expect(await ask(vm(0))).toContain(BUSY);
      holding.launcher.kill('SIGKILL');
      await holding.end;
      await until(async () => (await ask(vm(0))).startsWith('brightness'), 'the first VM to have the camera');
    });

    it('have an exclusive device’s place when a guest VM that had it is killed', async () => {
      const third = await start('third');
      mediations.pop();
      const holder = new Running(third, HOLD);
      await holder.printed('held');
      expect(await ask(vm(1))).toContain(BUSY);
      process.kill(third.pid, 'SIGKILL');
      await third.close();
      await until(
        async () => (await ask(vm(1))).startsWith('brightness'),
        'the second VM to have the camera',
      );
    });

    it('read a keyboard that is shared by foreground only while they are in front', async () => {
      const [first, second] = mediations as [Mediation, Mediation];
      await second.setFront(false);
      const command = [compileGuestProgram('events', 'guests-input'), 'polled', KEYBOARD];
      const readers = [new Running(vm(0), command), new Running(vm(1), command)] as const;
      for (const reader of readers) await reader.printed('ready');
      const behind = await bench.start(command, {
        ...{ devices: DEVICES, policies },
        onMediation: (made) => void made.setFront(false),
      });
      await until(() => behind.out.includes('ready'), 'the process guest to read');
      await type('a', readers[0]);
      await first.setFront(false);
      await second.setFront(true);
      await type('b', readers[1]);
      await type('f12', readers[1]);
      expect(await readers[1].ended).toBe(0);
      await second.setFront(false);
      await first.setFront(true);
      await type('f12', readers[0]);
      expect(await readers[0].ended).toBe(0);
      behind.launcher.kill('SIGKILL');
      await behind.end;
      const keysOf = (out: string): string => out.replace(/^(?!1 \d+ [01]$).*\n/gm, '');
      expect(keysOf(readers[0].out)).toBe(KEYS.a + KEYS.f12);
      expect(keysOf(readers[1].out)).toBe(KEYS.b + KEYS.f12);
      expect(keysOf(behind.out)).toBe('');
    });

    /** Types a key, and waits until the guest in front has it. */
    async function type(key: keyof typeof KEYS, inFront: Running): Promise<void> {
      const before = inFront.out.length;
      for (const down of [true, false])
        await bench.domain.sendInput([{ type: 'key', data: { down, key: { type: 'qcode', data: key } } }]);
      await until(() => inFront.out.slice(before).includes(KEYS[key]), `the key ${key}`);
    }
  },
);
