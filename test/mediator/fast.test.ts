import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram, DYNAMICALLY } from '../../host/cli/guest-program.js';
import { Bench, type Cases, caseNames, casesOf } from './support.js';

/** Programs that are run once trapped and once with the fast frontend: poll, signals, threads, copies, forks and bad pointers. */
const PROGRAMS = ['readiness_pty', 'blocking_pty', 'descriptors', 'remembered_pty', 'bad_input_pty'];

/** What becomes of the posts of a frontend that lies. "make the call": nothing has happened. */
const LIES: Record<string, string[]> = {
  honest: [
    'a command without an argument: answered, 0 0, 0 bytes',
    'a command whose bytes come out: answered, 0 0, 4 bytes',
    'a refused command: answered, -1 EPERM, 0 bytes',
    'an unknown command: answered, -1 ENOTTY, 0 bytes',
    'a command whose bytes go in: answered, 0 0, 0 bytes',
    'what the driver got: 11 22',
  ],
  numbers: [
    ...Array<string>(8).fill('a descriptor that is none: make the call'),
    'an ordinary file in the window: make the call',
    "the terminal: 1 'x'",
  ],
  'kinds and lengths': [
    ...Array<string>(7).fill('a head of another length: make the call'),
    ...Array<string>(3).fill('a kind that is none: make the call'),
    'a read of everything: make the call',
    'a read of nothing there: answered, -1 EAGAIN, 0 bytes',
    'a write of everything: make the call',
    'a write that may sleep: make the call',
    "the terminal: 1 'x'",
  ],
  'access mode': ['a write of a file that is open for reading: answered, -1 EBADF, 0 bytes'],
  'closed meanwhile': [
    'before: answered, 0 0, 0 bytes',
    'after close: make the call',
    'another file in its place: make the call',
    'its copy: answered, 0 0, 0 bytes',
  ],
  scribbled: ['trapped calls that went wrong: 0', "the terminal: 1 'x'"],
  'the file': [
    ...['shrink: EPERM', 'grow: EPERM', 'seal against writing: EPERM', 'punch a hole: 0'],
    "the terminal: 1 'x'",
  ],
  "a child's posts": [
    "a number that only the child has, in its parent's ring: make the call",
    'in its own: answered, 0 0, 0 bytes',
    "the terminal: 1 'x'",
  ],
  'many rings': ['in the last of 301: answered, 0 0, 0 bytes'],
};

describe.skipIf(!allOk(examineMachine(), 'required'))('the fast frontend', () => {
  let bench: Bench;
  const trapped: Cases = new Map();
  const posting: Cases = new Map();
  let lies: Cases;
  let posted = 0;

  beforeAll(async () => {
    bench = await Bench.local();
    for (const program of PROGRAMS) {
      const dynamic = compileGuestProgram(program, 'guests', DYNAMICALLY);
      for (const fast of [false, true]) {
        const { out, err, exitCode, counters } = await bench.guest([dynamic], { fast });
        expect({ program, err, exitCode }).toEqual({ program, err: '', exitCode: 0 });
        for (const [name, lines] of casesOf(out))
          (fast ? posting : trapped).set(`${program}: ${name}`, lines);
        if (fast) posted += counters.posted;
      }
    }
    lies = await bench.guestCases('lying_frontend');
  });
  afterAll(() => bench.close());

  it.each(PROGRAMS.flatMap((program) => caseNames(program).map((name) => ({ program, name }))))(
    '$program, $name: as when every call is trapped',
    ({ program, name }) => {
      const lines = posting.get(`${program}: ${name}`);
      expect(lines).toEqual(trapped.get(`${program}: ${name}`));
      expect(lines).not.toEqual([]);
    },
  );

  it('is used by them', () => {
    expect(posted).toBeGreaterThan(0);
  });

  it.each(caseNames('lying_frontend'))('lies: %s', (name) => {
    expect(lies.get(name)).toEqual(LIES[name]);
  });
});
