import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { ensureKernel } from '../../host/driver-vm/kernel.js';
import { type Aperture, closeAperture, fillAperture, newAperture } from '../../host/guest-vm/aperture.js';
import { ensureFrontendModule, FRONTEND_MODULE } from '../../host/guest-vm/frontend-module.js';
import { bootGuestVm } from '../../host/guest-vm/guest-vm.js';
import { native } from '../../host/native.js';
import { until } from '../cli/postern.js';
import {
  APERTURE_FIRST,
  CONTROL,
  FakeHost,
  FILES_MADE,
  FILES_MAX,
  HOST,
  KIND,
  RANGE,
  RANGES_MAX,
  type Reply,
  type Request,
  SLOTS,
  STATE,
} from './fake-host.js';

/** A device file of this test's own: the numbers are of the range for local use (Documentation/admin-guide/devices.txt). */
const DEVICE = {
  path: '/dev/postern-test',
  device: {
    name: 'postern-test',
    major: 240,
    minor: 7,
    subsystem: 'postern-test',
    sysfs: '',
    links: {},
    files: {},
  },
};
const DRIVER_MEMORY_BYTES = 1 << 20;
/** So that a silent host is given up after two of them: asked, and not answered. */
const PATIENCE_S = 1;
const SCRIBBLES = 60;
const KERNEL_ADDRESS = 0xffff_8880_0000_0000n;
const NOT_A_PAGE = 0x1000n;
const EBADF = 9;
/** What a kernel says of itself when something is wrong with it. */
const COMPLAINT =
  /BUG:|Oops:|WARNING:|Call Trace:|general protection|blocked for more than|use-after-free|Bad page/;

/** The request that a test is about, answered so; of others, whatever an honest host says. */
const on =
  (kind: number, reply: (request: Request) => Reply | undefined) =>
  (request: Request): Reply | undefined =>
    request.kind === kind && request.command !== 0xc0404601 ? reply(request) : undefined;
const always = (kind: number, reply: Reply) => on(kind, () => reply);
const needs = (address: bigint, bytes: number, kind: number = RANGE.reads): Reply => ({
  state: STATE.needs,
  ranges: [{ address, bytes, kind }],
});
const gives = (request: Request, ...files: number[]): Reply => ({
  ranges: files.map((bytes) => ({ address: request.argument, bytes, kind: RANGE.install })),
});

describe.skipIf(!allOk(examineMachine(), 'required'))(
  'the frontend of a guest VM whose host is a fake',
  () => {
    let aperture: Aperture;
    let driverMemory: number;
    let vm: DriverVm;
    let host: FakeHost;
    let program: string;
    let module: string;

    async function sh(script: string): Promise<string> {
      let text = '';
      const { code, signal } = await vm.run(['sh', '-c', script], (chunk) => {
        text += chunk.toString();
      });
      if (code !== 0) throw new Error(`${script} ended with ${code ?? signal}: ${text}`);
      return text;
    }
    /** What the program says when it uses the device in these ways. */
    const using = async (...ways: string[]): Promise<string[]> =>
      (await sh(`${program} ${ways.join(' ')}`)).trimEnd().split('\n');

    beforeAll(async () => {
      aperture = newAperture();
      driverMemory = native.memfd('postern-fake-driver', DRIVER_MEMORY_BYTES);
      fillAperture(aperture, [DEVICE]);
      host = new FakeHost(() => vm?.memory.descriptor, aperture);
      host.setControl(CONTROL.hostState, HOST.serving);
      program = compileGuestProgram('facing_host');
      const kernel = await ensureKernel(() => undefined);
      module = join(await ensureFrontendModule(kernel, () => undefined), `${FRONTEND_MODULE}.ko`);
      vm = await bootGuestVm({ driverMemory, progress: () => undefined }, aperture);
      await sh(`echo ${PATIENCE_S} > /sys/module/${FRONTEND_MODULE}/parameters/host_patience_s`);
    });
    afterEach(async () => {
      host.reset();
      expect(await using('ordinary')).toEqual(['ordinary: 42']);
    });
    afterAll(async () => {
      host.close();
      await vm.close();
      closeAperture(aperture);
      native.closeDescriptor(driverMemory);
    });

    const ioctl = (result: string, files = 0): string[] => [`ioctl: ${result}`, `new descriptors: ${files}`];

    it.each<[string, Reply | ((request: Request) => Reply), string[]]>([
      ['a value', { value: 7n }, ioctl('7')],
      ['an errno', { error: EBADF }, ioctl('EBADF')],
      ['an errno below zero', { error: -5 }, ioctl('EIO')],
      ['an errno that there is not', { error: 4096 }, ioctl('EIO')],
      ['a value below zero', { value: -1n }, ioctl('EIO')],
      ['a wish for no pages', { state: STATE.needs }, ioctl('EIO')],
      ['a wish for a page that is not there', needs(NOT_A_PAGE, 8), ioctl('EFAULT')],
      ['a wish for the kernel’s pages', needs(KERNEL_ADDRESS, 8), ioctl('EFAULT')],
      ['a wish that wraps around', needs(0xffff_ffff_ffff_fff0n, 64), ioctl('EFAULT')],
      ['a wish for too many pages', needs(NOT_A_PAGE, 0xffff_ffff), ioctl('EFAULT')],
      [
        'more wishes than a slot has room for',
        { ...needs(NOT_A_PAGE, 8), count: 0xffff_ffff },
        ioctl('EFAULT'),
      ],
      ['the same wish, again and again', ({ argument }) => needs(argument, 8, RANGE.writes), ioctl('EIO')],
      [
        'a wish for strange descriptors, again and again',
        needs(0xffff_fff0n, 0, RANGE.descriptor),
        ioctl('EMFILE'),
      ],
      ['a file', (request) => gives(request, FILES_MADE), ioctl('0', 1)],
      [
        'files with numbers that are not the host’s',
        (r) => gives(r, 0, FILES_MADE - 1, FILES_MAX, 0xffff_ffff),
        ioctl('EIO'),
      ],
      ['one file twice', (request) => gives(request, FILES_MADE, FILES_MADE), ioctl('EIO', 1)],
      [
        'more files than a slot has room for',
        (r) => ({ ...gives(r, ...new Array(RANGES_MAX).fill(0)), count: 0xffff_ffff }),
        ioctl('EIO'),
      ],
      [
        'a file for a place in the kernel',
        (r) => gives({ ...r, argument: KERNEL_ADDRESS }, FILES_MADE),
        ioctl('EFAULT', 1),
      ],
    ])('gets %s', async (_, reply, wanted) => {
      host.reaction = on(KIND.ioctl, typeof reply === 'function' ? reply : () => reply);
      expect(await using('ioctl')).toEqual(wanted);
    });

    it.each<[string, Reply, string]>([
      ['more bytes than were asked for', { value: 101n }, 'EIO'],
      ['less than none', { value: -1n }, 'EIO'],
      ['files', { ranges: [{ address: 0n, bytes: FILES_MADE, kind: RANGE.install }] }, 'EIO'],
      ['what was asked for', { value: 100n }, '100'],
    ])('reads %s', async (_, reply, wanted) => {
      host.reaction = always(KIND.read, reply);
      expect(await using('read')).toEqual([`read: ${wanted}`]);
    });

    it.each<[string, Reply]>([
      ['the control page', { value: 0n }],
      ['less than a page', { value: BigInt(APERTURE_FIRST + 1) }],
      ['beyond the aperture', { value: 1n << 40n }],
      ['its last page, and one more', { value: BigInt((256 << 20) - 4096) }],
      ['what wraps around', { value: 0x7fff_ffff_ffff_f000n }],
      ['a wish for pages, which would wait for a lock that its caller has', needs(NOT_A_PAGE, 8)],
    ])('maps nothing when it is given %s', async (_, reply) => {
      host.reaction = always(KIND.mmap, reply);
      expect(await using('mmap')).toEqual(['mmap: EIO']);
    });

    it('maps what lies in the aperture', async () => {
      host.reaction = always(KIND.mmap, { value: BigInt(APERTURE_FIRST) });
      expect(await using('mmap')).toEqual(['mmap: ok']);
    });

    it.each([
      ['kill-open', KIND.open],
      ['kill-ioctl', KIND.ioctl],
      ['kill-read', KIND.read],
      ['kill-mmap', KIND.mmap],
      ['kill-mmap-and-fault', KIND.mmap],
    ])('%s: a program whose operation is never answered ends when it is killed', async (way, kind) => {
      host.obeysCancels = false;
      host.reaction = (request) => (request.kind === kind ? { state: STATE.posted } : undefined);
      expect(await using(way)).toEqual(['it: SIGKILL']);
      // What comes late finds nobody, and gives the slot back.
      const late = host.posted();
      expect(late.length).toBe(1);
      for (const slot of late) host.reply(slot, { value: BigInt(APERTURE_FIRST) });
      await until(() => host.posted().length === 0, 'the slot to be free');
    });

    it('has a signal end what its host answers then', async () => {
      expect(await using('signal')).toEqual([...ioctl('EINTR'), 'it: exit 0']);
    });

    it('takes no notice of states that there are not, answers that come twice and answers to nobody', async () => {
      for (const state of [STATE.answered, STATE.needs, 77, 0xffff_ffff])
        for (let slot = 0; slot < SLOTS; slot += 1)
          host.reply(slot, { state, value: 9n, count: 0xffff_ffff });
      expect(await using('ordinary', 'ordinary')).toEqual(['ordinary: 42', 'ordinary: 42']);
      host.reaction = on(KIND.ioctl, ({ slot }) => {
        host.reply(slot, { value: 5n });
        return { value: 6n };
      });
      expect((await using('ioctl'))[0]).toMatch(/^ioctl: [56]$/);
    });

    it('tells programs the events that there are, whatever is in the ring', async () => {
      host.setReady(0xffff_ffff);
      // Opening clears what is there; it comes again.
      const polling = using('poll');
      const again = setInterval(() => host.setReady(0xffff_ffff), 20);
      expect(await polling.finally(() => clearInterval(again))).toEqual(['poll: 1', 'revents: 0x1f']);
      host.setReady(0);
    });

    it('outlives a ring that is scribbled over while operations are in flight', async () => {
      let seed = 0;
      const garbage = (count: number): Buffer => {
        const blocks: Buffer[] = [];
        for (let i = 0; i < count / 32; i += 1)
          blocks.push(createHash('sha256').update(`${seed++}`).digest());
        return Buffer.concat(blocks, count);
      };
      host.reaction = ({ kind }) => (kind === KIND.ioctl ? { state: STATE.posted } : undefined);
      const crowd = using('crowd');
      await until(() => host.posted().length === SLOTS, 'every slot to be taken');
      for (let i = 0; i < SCRIBBLES; i += 1) {
        host.scribble(garbage);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      // What was spoilt before anybody has read it is answered now, and so is whatever comes.
      for (let slot = 0; slot < SLOTS; slot += 1) host.reply(slot, {});
      host.reaction = () => ({});
      const answering = setInterval(() => host.answerAll(), 50);
      expect((await crowd).at(-1)).toMatch(/^killed: \d+ of 128$/);
      await until(() => host.posted().length === 0, 'every slot to be free');
      clearInterval(answering);
    });

    it('fails its operations when the host goes, and serves again when there is one', async () => {
      host.reaction = on(KIND.ioctl, () => {
        host.setControl(CONTROL.hostState, HOST.gone);
        host.interrupt();
        return { state: STATE.posted };
      });
      expect(await using('ioctl')).toEqual(ioctl('ENODEV'));
      expect(await using('open')).toEqual(['open: ENODEV']);
      host.setControl(CONTROL.hostState, HOST.serving);
      for (const slot of host.posted()) host.reply(slot, {});
    });

    it('asks a silent host, gives it up, and serves again when it speaks', async () => {
      host.reaction = on(KIND.ioctl, () => {
        host.isThere = false;
        return { state: STATE.posted };
      });
      expect(await using('ioctl')).toEqual(ioctl('ENODEV'));
      expect(await using('open')).toEqual(['open: ENODEV']);
      const late = host.posted();
      expect(late.length).toBeGreaterThanOrEqual(1);
      host.isThere = true;
      for (const slot of late) host.reply(slot, {});
    });

    it('lets go of a crowd that waits for slots, when it is killed, and can be unloaded while nothing is answered', async () => {
      host.reaction = ({ kind }) =>
        [KIND.ioctl, KIND.release, KIND.cancel].includes(kind) ? { state: STATE.posted } : undefined;
      expect(await using('crowd')).toEqual(['killed: 128 of 128']);
      expect(host.posted().length).toBe(SLOTS);
      await sh(`rmmod ${FRONTEND_MODULE}`);
      host.reset();
      await load();
    });

    it('is unloaded although the host keeps the ring, and waits for that before it offers another', async () => {
      host.letsGo = false;
      await sh(`rmmod ${FRONTEND_MODULE}`);
      await load();
      await expect(using('ordinary')).rejects.toThrow('ENOENT');
      await sh(`rmmod ${FRONTEND_MODULE}`);
      host.letsGo = true;
      await until(() => host.control(CONTROL.ringTaken) === 0, 'the ring to be let go of');
      await load();
    });

    it('takes a device table that is nonsense for what it is', async () => {
      await sh(`rmmod ${FRONTEND_MODULE}`);
      for (const spoil of tables()) {
        host.spoilTable(spoil);
        await load().catch(() => undefined);
        await sh(`rmmod ${FRONTEND_MODULE} || true`);
      }
      fillAperture(aperture, [DEVICE]);
      host.setControl(CONTROL.hostState, HOST.serving);
      await load();
    });

    it('has had its kernel complain of nothing', async () => {
      const lines = (await sh('dmesg')).split('\n');
      expect(lines.filter((line) => COMPLAINT.test(line))).toEqual([]);
      expect(lines.some((line) => line.includes('the host does not answer'))).toBe(true);
    });

    async function load(): Promise<void> {
      await sh(`insmod ${module} host_patience_s=${PATIENCE_S}`);
    }
  },
);

/** What a host may have written in place of a device table: counts, lengths, places and names of every kind. */
function* tables(): Generator<(control: Buffer) => void> {
  const [devices, tableBytes, table] = [12, 16, 4096];
  yield (control) => control.writeUInt32LE(0xffff_ffff, devices);
  yield (control) => control.writeUInt32LE(0xffff_ffff, tableBytes);
  yield (control) => control.writeUInt32LE(0, devices);
  // Of the one device: attributes without end, from a place outside, with itself as a parent, and names without an end.
  yield (control) => control.writeUInt32LE(0xffff_ffff, table + 104);
  yield (control) => control.writeUInt32LE(0xffff_fff8, table + 108);
  yield (control) => control.writeUInt32LE(0, table + 112);
  yield (control) => control.fill(0x41, table, table + 96);
  yield (control) => control.write('../../evil\0', table);
  yield (control) => control.writeUInt32LE(0xffff_ffff, table + 96);
  yield (control) => control.fill(0xff, table, table + 152);
}
