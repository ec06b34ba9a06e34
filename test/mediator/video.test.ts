import { fstatSync, readFileSync, readSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { descendantsOf } from '../cli/postern.js';
import { Bench, type Cases, caseNames } from './support.js';

/** Guest programs whose every case prints the same as a guest and beside the driver, but for those below. */
const PROGRAMS = ['blocking_video', 'mapping', 'readiness_video', 'bad_input_video'];

/** What a guest sees where it is not what a program beside the driver sees. */
const DIFFERENT: Record<string, string[]> = {
  // A placeholder's error is there for whoever polls, unless the program has asked for events.
  'not streaming': [
    ...['buffers, not streaming: 1 ERR', 'queued, not streaming: 1 ERR', 'queued, urgent only: 1 ERR'],
    ...['streaming: 1 IN', 'stopped: 1 ERR'],
  ],
  // The kernel uses a part of such a payload; a guest's is beyond its envelope, or beyond its own memory.
  'payloads without end': [
    'get with a size without end: ENOMEM, error at 0, size 4294967295, pointer kept 1',
    'get with a size across the end: EFAULT, error at 0, size 65536, pointer kept 1',
    'set with a size without end: ENOMEM, error at 0, size 4294967295, pointer kept 1',
    'set with a large size: ENOMEM, error at 0, size 1048576, pointer kept 1',
  ],
  // Nothing lies behind the end of a guest's mapping; beside the driver something may.
  'beyond the end': ['the last byte can be written', 'one further: SIGSEGV'],
};

/** What stops each attempt of test/guests/mapping_escapes.c. */
const STOPPED: Record<string, string[]> = {
  'other places': ['fixed: EINVAL', 'fixed without replacing: EINVAL', 'in the range of driver pages: 1'],
  growing: [
    ...['mremap to more: EINVAL', 'mremap of one page to two: EINVAL', 'mremap to less: EINVAL'],
    ...['mremap elsewhere: EINVAL', 'mremap that leaves a copy: EINVAL', 'mremap into the range: EINVAL'],
    ...['remap_file_pages: ENOSYS', 'still there: 1'],
  ],
  'by /proc': [
    ...['runs of pages: 1, opened by /proc/self/map_files: 0', 'descriptors of the memory: 0'],
    'dumpable as before: 1',
  ],
  'writing what is read-only': [
    ...['mprotect: EACCES', '/proc/self/mem: EIO', 'process_vm_writev: EFAULT', 'MADV_REMOVE: EACCES'],
    'read into it: EFAULT',
  ],
  'punching holes': ['bytes of another buffer that changed: 0', 'the driver goes on: 0', 'frames come'],
  'hunted by another process': [
    ...['the one that maps: exit 0', 'descriptors of the memory that were seen: 0'],
  ],
  'hunted by another thread': ['descriptors of the memory that were seen: 0'],
  'a shared table of descriptors': ['with a sharer: ENOMEM', 'the sharer: exit 0', 'without: ok'],
  'a value that changes': ['both were seen: 1, what was not judged: 0'],
};

/** A run of pages of a file in a process, from /proc/PID/maps. */
interface Run {
  first: bigint;
  bytes: number;
  offset: number;
}

/** The runs by which the process maps the file, from `address` on. */
function runsFrom(pid: number, inode: bigint, address: bigint): Run[] {
  const lines = [...readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(/^(\w+)-(\w+) \S+ (\w+) \S+ (\d+)/gm)];
  return lines
    .filter(([, , , , file]) => BigInt(file as string) === inode)
    .map(([, first, end, offset]) => ({
      first: BigInt(`0x${first}`),
      bytes: Number(BigInt(`0x${end}`) - BigInt(`0x${first}`)),
      offset: Number(BigInt(`0x${offset}`)),
    }))
    .filter(({ first }) => first >= address);
}

/** The first bytes of the runs, from the file. */
function readRuns(descriptor: number, runs: readonly Run[], length: number): Buffer {
  const all = runs.map(({ bytes, offset }) => {
    const run = Buffer.alloc(bytes);
    readSync(descriptor, run, 0, bytes, offset);
    return run;
  });
  return Buffer.concat(all).subarray(0, length);
}

function fnv1a(bytes: Uint8Array): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, '0');
}

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest with a camera', () => {
  let bench: Awaited<ReturnType<typeof Bench.vm>>;
  const guest: Cases = new Map();
  const direct: Cases = new Map();
  let escapes: Cases;

  beforeAll(async () => {
    bench = await Bench.vm(['vivid'], true);
    for (const program of PROGRAMS) {
      for (const [name, lines] of await bench.directCases(program)) direct.set(`${program}: ${name}`, lines);
      for (const [name, lines] of await bench.guestCases(program)) guest.set(`${program}: ${name}`, lines);
    }
    escapes = await bench.guestCases('mapping_escapes');
  });
  afterAll(() => bench.close());

  const all = PROGRAMS.flatMap((program) => caseNames(program).map((name) => ({ program, name })));

  it.each(all.filter(({ name }) => DIFFERENT[name] === undefined))(
    '$program, $name: as beside the driver',
    ({ program, name }) => {
      const lines = guest.get(`${program}: ${name}`);
      expect(lines).toEqual(direct.get(`${program}: ${name}`));
      expect(lines).not.toEqual([]);
    },
  );

  it.each(all.filter(({ name }) => DIFFERENT[name] !== undefined))(
    '$program, $name: differs as it must',
    ({ program, name }) => {
      expect(guest.get(`${program}: ${name}`)).toEqual(DIFFERENT[name]);
    },
  );

  it('loses its buffers with the last copy of its descriptor, and not before', () => {
    expect(guest.get('blocking_video: the last copy releases')).toEqual([
      ...['a copy is left: EBUSY', "the child's is left: EBUSY", 'in the child: 3'],
      ...['child: exit 0', 'none is left: 2'],
    ]);
  });

  it('tries every way to the rest of the memory', () => {
    expect([...escapes.keys()]).toEqual(Object.keys(STOPPED));
  });

  it.each(Object.keys(STOPPED))('does not reach the rest of the memory: %s', (name) => {
    expect(escapes.get(name)).toEqual(STOPPED[name]);
  });

  it('sees the same first frame, byte for byte, as a program beside the driver', async () => {
    const still = '--set-ctrl=osd_text_mode=2 --set-fmt-video=width=320,height=180,pixelformat=YUYV';
    const capture = '--stream-mmap --stream-count=1 --stream-to=/dev/shm/postern-frame';
    const command = `v4l2-ctl ${still} ${capture} >/dev/null 2>&1 && sha256sum </dev/shm/postern-frame && rm /dev/shm/postern-frame`;
    const beside = await bench.beside(['sh', '-c', command]);
    const { out } = await bench.guest(['sh', '-c', command]);
    expect(beside).toMatch(/^[0-9a-f]{64} {2}-\n$/);
    expect(out).toBe(beside);
  });

  it('and the driver look at the same pages', async () => {
    const { descriptor } = bench.domain.memory;
    const { ino: inode } = fstatSync(descriptor, { bigint: true });
    const running = await bench.start([compileGuestProgram('frame')]);
    await running.printed('mapped at');
    const [, length, used, hash, where] = running.out.match(/(\d+) (\d+) (\w+)\nmapped at (\w+)/) ?? [];
    const address = BigInt(`0x${where}`);
    const holder = descendantsOf(running.launcher.pid as number).find(
      (pid) => runsFrom(pid, inode, address).length > 0,
    );
    const runs = runsFrom(holder as number, inode, address);
    const frame = readRuns(descriptor, runs, Number(length));
    expect(runs[0]?.first).toBe(address);
    expect(frame.length).toBe(Number(length));
    expect(fnv1a(frame.subarray(0, Number(used)))).toBe(hash);

    // What the driver domain writes, the guest sees, and the other way round.
    writeSync(descriptor, Buffer.of(0x5e), 0, 1, runs[0]?.offset);
    running.launcher.stdin?.end('\n');
    await running.printed('first byte 5e');
    expect(await running.end).toMatchObject({ exitCode: 0 });
    expect(readRuns(descriptor, runs, Number(length)).at(-1)).toBe(0xc3);
  });

  it('leaves the camera to the next one when it is killed with buffers mapped', async () => {
    const running = await bench.start([compileGuestProgram('frame')]);
    await running.printed('mapped at');
    running.launcher.kill('SIGKILL');
    expect(await running.end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    const next = await bench.guestCases('mapping', {}, ['munmap frees it']);
    expect(next.get('munmap frees it')).toEqual(guest.get('mapping: munmap frees it'));
  });
});
