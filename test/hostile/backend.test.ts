import { createCipheriv } from 'node:crypto';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain } from '../../host/mediator/mediation.js';
import { CAMERA, RunningGuest } from '../mediator/support.js';
import {
  type Answer,
  EXPBUF,
  FakeDomain,
  KIND,
  QUERYBUF,
  type Submission,
  type Taken,
} from './fake-domain.js';

/** For operations that are to miss it. */
const SHORT_DEADLINE_MS = 700;
/** For all others: more than any answer takes on a busy machine. */
const LONG_DEADLINE_MS = 20_000;
const HONEST = ['open: ok', 'querycap: 0', 'read: 16', 'querycap again: 0', 'close: 0'];
/** What a guest sees whose backend is not listened to any more: defined errnos, and an end. */
const DEAD = ['open: ok', 'querycap: ENODEV', 'read: ENODEV', 'querycap again: ENODEV', 'close: 0'];
const HONEST_MAPPING = [
  ...['open: ok', 'querycap: 0', 'read: 16', 'reqbufs: 0', 'querybuf: 0', 'mmap: ok'],
  ...['first bytes aa aa', 'querycap again: 0', 'close: 0'],
];
const GARBAGE_ROUNDS = 12;
/** As many as a ring holds beside the honest answer. */
const FLOOD = 60;
const READINESS = { id: 0n, result: 0n, kind: 2, file: 0 };
const GARBAGE_BYTES = 16384 - 64;

/** The same bytes in every run. */
function garbage(seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(
    Buffer.alloc(GARBAGE_BYTES),
  );
}

describe.skipIf(!allOk(examineMachine(), 'required'))('a hostile driver VM', () => {
  let fake: FakeDomain;
  let records: string[];

  beforeEach(() => {
    fake = new FakeDomain();
    for (const page of fake.sparePages) fake.fill(page, 0xaa);
    records = [];
  });
  afterEach(async () => {
    forgetDomain(fake.domain);
    await fake.domain.close();
  });

  function start(args: string[], deadlineMs = LONG_DEADLINE_MS): Promise<RunningGuest> {
    return new Promise((resolve, reject) => {
      const report: Promise<GuestReport> = runGuest({
        ...{
          program: compileGuestProgram('asker', 'hostile'),
          args,
          devices: CAMERA,
          domain: fake.domain,
          name: 'asker',
        },
        log: pino({ level: 'info' }, { write: (line) => void records.push(line) }),
        stdio: ['pipe', 'pipe', 'pipe'],
        operationDeadlineMs: deadlineMs,
        onStart: (launcher) => resolve(new RunningGuest(launcher, () => report, [])),
      });
      report.catch(reject);
    });
  }

  /** What a guest says under this answer. It ends by itself, whatever the backend does. */
  async function under(answer: Answer, args: string[] = [], deadlineMs?: number): Promise<string[]> {
    fake.answer = answer;
    const guest = await start(args, deadlineMs);
    guest.launcher.stdin?.end();
    const { out, exitCode, signal, err } = await guest.end;
    expect({ exitCode, signal, err }).toEqual({ exitCode: 0, signal: null, err: '' });
    return out.split('\n').slice(0, -1);
  }

  /** The host has survived when the next guest is served. */
  async function survives(): Promise<void> {
    expect(await under(() => undefined)).toEqual(HONEST);
  }

  const logged = (): string => records.join('');
  const onIoctl =
    (answer: Answer): Answer =>
    (op, domain) =>
      op.kind === KIND.ioctl ? answer(op, domain) : undefined;

  it('that is honest serves a guest: so the others show something', async () => {
    expect(await under(() => undefined)).toEqual(HONEST);
    expect(await under(() => undefined, ['map'])).toEqual(HONEST_MAPPING);
  });

  it.each<[string, Answer]>([
    ['an identifier that was never given', onIoctl((op) => [{ id: op.id + 1000n, result: 0n }])],
    ['the identifier 0', onIoctl(() => [{ id: 0n, result: 0n }])],
    ['a kind of completion that is none', onIoctl((op) => [{ id: op.id, result: 0n, kind: 77 }])],
    ['a tail that is far ahead', onIoctl((_, domain) => domain.setTail(0, domain.tail(0) + 1000))],
    ['a tail that is behind', onIoctl((_, domain) => domain.setTail(0, domain.tail(0) - 1))],
  ])('%s: the process is not listened to any more, its files are dead', async (_, answer) => {
    const lines = await under(answer);
    expect(lines).toEqual(DEAD);
    expect(logged()).toContain('backend-confused');
    await survives();
  });

  it('a completion twice: the second answers nothing', async () => {
    const lines = await under(
      onIoctl((op) => [
        { id: op.id, result: 0n },
        { id: op.id, result: 0n },
      ]),
    );
    expect(lines.slice(0, 2)).toEqual(['open: ok', 'querycap: 0']);
    expect(lines.slice(2)).toEqual(['read: ENODEV', 'querycap again: ENODEV', 'close: 0']);
    expect(logged()).toContain('backend-confused');
    await survives();
  });

  it('nothing: after the deadline the files are dead', async () => {
    const lines = await under(
      onIoctl(() => []),
      [],
      SHORT_DEADLINE_MS,
    );
    expect(lines).toEqual(DEAD);
    expect(logged()).toContain('operation-overdue');
    await survives();
  });

  it('a completion that comes when its operation has been given up answers no other', async () => {
    const late: Submission[] = [];
    const lines = await under(
      onIoctl((op) => {
        late.push(op);
        return [];
      }),
      [],
      SHORT_DEADLINE_MS,
    );
    expect(lines).toEqual(DEAD);
    expect(logged()).toContain('operation-overdue');
    for (const { channel, id } of late) fake.complete(channel, { id, result: 0n });
    // It lies in the ring of the next guest, who did not ask: its file is dead, and the channel is begun anew after it. Or the channel had
    // been begun anew already, and what lay in it is gone.
    const next = await under(() => undefined);
    expect([['open: ENODEV'], HONEST]).toContainEqual(next);
    expect(logged().includes('backend-confused')).toBe(next.length === 1);
    await survives();
  });

  it('a read of more bytes than asked for moves none', async () => {
    const lines = await under((op) =>
      op.kind === KIND.read ? [{ id: op.id, result: op.length + 48n }] : undefined,
    );
    expect(lines).toEqual(['open: ok', 'querycap: 0', 'read: EIO', 'querycap again: 0', 'close: 0']);
    expect(logged()).toContain('backend-confused');
    await survives();
  });

  it('results that are neither lengths nor errnos', async () => {
    for (const result of [-4096n, -99999n, -(1n << 40n), -(1n << 63n)]) {
      const lines = await under((op) => (op.kind === KIND.read ? [{ id: op.id, result }] : undefined));
      expect(lines[2]).toBe('read: EIO');
    }
    await survives();
  });

  it('readiness of files that are not there, of every kind', async () => {
    const lines = await under((op, domain) => {
      for (const file of [0, 1, 255, 256, 0xffffffff])
        domain.complete(op.channel, { id: 0n, result: 0n, kind: 2, file, ready: 0xfffffffe });
      return undefined;
    });
    expect(lines).toEqual(HONEST);
    await survives();
  });

  it.each<[string, (fake: FakeDomain) => bigint[]]>([
    ['outside its memory', (domain) => [BigInt(domain.bytes), BigInt(domain.bytes) + 4096n]],
    ['far outside', () => [1n << 52n, 1n << 62n]],
    ['that are none', (domain) => [(domain.sparePages[0] as bigint) + 8n, 1n]],
    ['of its channels', () => [0n, 4096n]],
    ['of which one is a channel’s', (domain) => [domain.sparePages[0] as bigint, 8192n]],
  ])('pages %s are mapped to nobody', async (_, pages) => {
    const lines = await under(
      (op, domain) => (op.kind === KIND.mmap ? domain.mapping(op, pages(domain)) : undefined),
      ['map'],
    );
    expect(lines).toContain('mmap: EIO');
    expect(lines.at(-2)).toBe('querycap again: 0');
    expect(logged()).toContain('page-refused');
    await survives();
  });

  it('a number of pages that is not what was asked for', async () => {
    for (const result of [0n, 1n, 3n, 1n << 40n]) {
      const lines = await under(
        (op, domain) => (op.kind === KIND.mmap ? domain.mapping(op, domain.sparePages, result) : undefined),
        ['map'],
      );
      expect(lines).toContain('mmap: EIO');
    }
    await survives();
  });

  it('pages of another guest are mapped to nobody else, until that guest has let go of them', async () => {
    fake.answer = () => undefined;
    const first = await start(['wait']);
    await first.printed('waiting');
    const [page] = fake.sparePages as [bigint];
    expect(fake.firstByteOf(page)).toBe(0x77);
    const lines = await under(() => undefined, ['map']);
    expect(lines).toContain('mmap: EIO');
    expect(logged()).toContain('page-refused');
    first.launcher.stdin?.end();
    expect(await first.end).toMatchObject({ exitCode: 0 });
    expect(await under(() => undefined, ['map'])).toContain('mmap: ok');
  });

  it('states that are none, or come at the wrong time', async () => {
    for (const state of [4, 5, 77, 0xffffffff, 0]) {
      const lines = await under(
        onIoctl((op, domain) => domain.setState(op.channel, state)),
        [],
        SHORT_DEADLINE_MS,
      );
      expect(lines.at(-1)).toBe('close: 0');
      expect(lines[1]).toMatch(/^querycap: (ENODEV|0)$/);
    }
    await survives();
  });

  it('garbage all over its rings', async () => {
    for (let round = 0; round < GARBAGE_ROUNDS; round++) {
      const lines = await under(
        onIoctl((op, domain) => {
          // Everything but the channel's state, which would only make it start anew.
          domain.scribble(op.channel, 64, garbage(round));
          return domain.setTail(op.channel, domain.tail(op.channel) + (round % 70));
        }),
        [],
        SHORT_DEADLINE_MS,
      );
      expect(lines.length).toBeGreaterThanOrEqual(4);
      expect(lines.at(-1)).toBe('close: 0');
    }
    await survives();
  }, 120_000);

  it('lies in a structure: the guest gets them, within its own buffer', async () => {
    const lines = await under(
      (op, domain) => {
        if (op.kind !== KIND.ioctl || op.command !== QUERYBUF) return undefined;
        domain.reply(op, Buffer.alloc(88, 0xff));
        return [{ id: op.id, result: 0n }];
      },
      ['map'],
    );
    // The offset that was told is not the one that is mapped.
    expect(lines).toContain('querybuf: 0');
    expect(lines.find((line) => line.startsWith('mmap: '))).not.toBe('mmap: ok');
    await survives();
  });

  it.each<[string, Partial<Taken>, string]>([
    ['of another kind', { result: -9 }, 'expbuf: EIO'],
    ['with an errno that is none', { result: -99999 }, 'expbuf: EIO'],
    [
      'with flags, a mode and a length that no file has',
      { openFlags: 0xffffffff, mode: 0xffffffff, bytes: -1n },
      'expbuf: ok',
    ],
    ['and a number of its own choice', { result: 0, number: 0 }, 'expbuf: ok'],
  ])('a descriptor %s: the guest gets a placeholder or EIO', async (_, lie, expected) => {
    const lines = await under(
      (op, domain) => (op.command === EXPBUF ? domain.take(op, lie) : undefined),
      ['export'],
    );
    expect(lines).toContain(expected);
    if (expected === 'expbuf: EIO') expect(logged()).toContain('descriptor-strange');
    else expect(lines).toContain('a new descriptor, close-on-exec: 0, powerless');
    expect(lines.slice(-2)).toEqual(['querycap again: 0', 'close: 0']);
    await survives();
  });

  it('no descriptor, but a number: it means in the guest what it meant there before', async () => {
    const lines = await under(
      (op, domain) => (op.command === EXPBUF ? domain.take(op, { result: 1, number: 1 }) : undefined),
      ['export'],
    );
    expect(lines).toContain('expbuf: ok');
    expect(lines).toContain('a descriptor that was there before');
    await survives();
  });

  it('a flood of readiness between its answers', async () => {
    const lines = await under((op, domain) => {
      const flood = Array.from({ length: FLOOD }, (_, round) => ({
        ...READINESS,
        ready: round % 2 === 0 ? 0x7fffffff : 0,
      }));
      return [...flood, ...domain.honestly(op)];
    });
    expect(lines).toEqual(HONEST);
    await survives();
  });
});
