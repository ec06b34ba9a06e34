import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { Bench, type Cases, caseNames } from './support.js';

/** Guest programs whose every case prints the same as a guest and on this machine, but for those below. */
const PROGRAMS = ['blocking_pty', 'descriptors', 'remembered_pty', 'readiness_pty', 'bad_input_pty'];

/** What a guest sees where it is not what a process with the driver's own descriptor sees. */
const DIFFERENT: Record<string, string[]> = {
  // The received copy lies outside of the window: it is a socket without power. Shutting it down is what the guest did to itself.
  'passed by a message': [
    ...['sendmsg: 1', 'recvmsg: 1', 'tcgetattr: ENOTTY', 'TIOCGPTN: ENOTTY', 'mmap: ENOMEM'],
    'tcgetattr of the own one afterwards: ENOTTY',
  ],
  // 192 numbers, of which the pair has two.
  'as many copies as there are': [
    ...['190 copies, then EMFILE', 'F_DUPFD: EMFILE', 'open: EMFILE', "master: 5 'works'"],
  ],
  // The manifest's sessionsMax.
  'as many files as there are': ['64 files, then EMFILE'],
  'outside the window': ['dup2 to standard input: EBADF', 'dup3 to 5: EBADF', 'still there: 1'],
  'refused on purpose': [
    ...['TIOCSTI: EPERM', 'TIOCSCTTY: EPERM', 'TIOCCONS: EPERM', 'TIOCVHANGUP: EPERM', 'TIOCGPTPEER: ENOTTY'],
    ...['TIOCSETD to another discipline: EPERM', 'TIOCGPGRP: ENOTTY', 'TIOCGSID: ENOTTY'],
  ],
  'terminals of others': ['open: EACCES', 'open: EACCES'],
};

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest with terminals', () => {
  let bench: Bench;
  const guest: Cases = new Map();
  const direct: Cases = new Map();

  beforeAll(async () => {
    bench = await Bench.local();
    for (const program of PROGRAMS) {
      const same = caseNames(program).filter((name) => DIFFERENT[name] === undefined);
      for (const [name, lines] of await bench.directCases(program, same))
        direct.set(`${program}: ${name}`, lines);
      for (const [name, lines] of await bench.guestCases(program)) guest.set(`${program}: ${name}`, lines);
    }
  });
  afterAll(() => bench.close());

  const all = PROGRAMS.flatMap((program) => caseNames(program).map((name) => ({ program, name })));

  it.each(all.filter(({ name }) => DIFFERENT[name] === undefined))(
    '$program, $name: as on this machine',
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

  it('gets EINTR, or the call begins anew, as the handler says', () => {
    expect(guest.get('blocking_pty: a handled signal ends it with EINTR')).toEqual([
      'reader: EINTR',
      'handler ran 1 times',
    ]);
    expect(guest.get('blocking_pty: a handled signal with SA_RESTART restarts it')).toEqual([
      "reader: 5 'later'",
      'handler ran 1 times',
    ]);
  });

  it('loses nothing to a process that was killed', () => {
    expect(guest.get('blocking_pty: SIGKILL ends the process')).toEqual([
      'child: SIGKILL',
      "parent: 6 'for me'",
    ]);
  });

  it('gets EBADF from a descriptor that exec has closed', () => {
    expect(guest.get('descriptors: exec')).toEqual([
      ...['inherited: 0', 'without CLOEXEC: exit 0', 'F_SETFD: 0'],
      ...['inherited: EBADF', 'with CLOEXEC: exit 0'],
    ]);
  });
});
