import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { pack, unpack } from '../../host/package/archive.js';
import { createPackage } from '../../host/package/create.js';
import type { LyingRefused } from '../../host/package/inbox.js';
import { canonicalJson } from '../../host/package/json.js';
import { generateKey, readPrivateKey } from '../../host/package/keys.js';
import { sign } from '../../host/package/signatures.js';
import { SOURCES } from '../../host/policy/compile.js';
import type { ClassState } from '../../host/serve/protocol.js';
import { type Outcome, postern, type RunningPostern, until } from '../cli/postern.js';
import { ServedHost } from './support.js';

/** Holds a terminal open, and asks for its size whenever it can. */
const WORKS =
  '$| = 1; open(my $f, "+<", "/dev/ptmx") or die; print "opened\\n"; ' +
  'while (1) { ioctl($f, 0x5413, my $size = "\\0" x 8) or print "failed\\n"; select(undef, undef, undef, 0.002) }';

/** What `postern policy status --json` prints. */
interface Status {
  classes: ClassState[];
  refused: LyingRefused[];
}

const BUILT_IN: string = JSON.parse(readFileSync(join(SOURCES, 'pty.manifest.json'), 'utf8')).version;

describe.skipIf(!allOk(examineMachine(), 'required'))('a running host’s policy store', () => {
  let host: ServedHost;
  let guest: RunningPostern;
  let plain: Buffer;

  beforeAll(async () => {
    ({ file: plain } = await createPackage('pty', SOURCES));
    host = await ServedHost.start();
    const { publicKey } = generateKey('ed25519', join(host.folder, 'key'));
    const trust = { keys: { test: { publicKey } }, classes: { pty: { keys: ['test'], threshold: 1 } } };
    writeFileSync(host.trust, JSON.stringify(trust));
    guest = host.guest('perl', '-e', WORKS);
    await guest.printed('opened');
  });
  afterAll(async () => {
    guest?.child.kill('SIGKILL');
    await host?.close();
  });

  /** A package of a version of pty, signed by a key of the host's folder, or by none. */
  function packaged(version: string, sequence: number, key: string | null = 'key'): string {
    const members = new Map(unpack(plain));
    const manifest = JSON.parse(members.get('manifest.json')?.toString() ?? '');
    members.set('manifest.json', canonicalJson({ ...manifest, version, sequence }));
    const path = join(host.folder, `pty-${version}.postern`);
    writeFileSync(path, pack(key === null ? members : sign(members, readPrivateKey(join(host.folder, key)))));
    return path;
  }

  function policy(command: string, ...rest: string[]): Outcome {
    return postern(['policy', command, '--store', host.store, '--socket', host.socket, ...rest]);
  }

  const stateOf = (): ClassState => statusOf().classes.find((state) => state.class === 'pty') as ClassState;

  const statusOf = (): Status => JSON.parse(host.command('policy status', '--json').out) as Status;

  async function comesIntoForce(version: string): Promise<void> {
    await until(
      () => host.guests()[0]?.modules.find((module) => module.class === 'pty')?.version === version,
      `version ${version} to judge the guest`,
    );
  }

  it('has what is installed judge its guests at once', async () => {
    const { status, err, out } = policy('install', '--trust', host.trust, packaged('0.2.0', 20));
    expect({ status, err }).toEqual({ status: 0, err: '' });
    // When the command ends, the guest is judged by the new version.
    expect(out).toContain(`The host at ${host.socket} has taken it over. It judges perl from now on.`);
    expect(host.guests()[0]?.modules).toContainEqual(
      expect.objectContaining({ class: 'pty', version: '0.2.0' }),
    );
    expect(stateOf()).toMatchObject({ inForce: { version: '0.2.0', sequence: 20 }, failure: null });
  });

  it('installs what is dropped in its inbox', async () => {
    copyFileSync(packaged('0.3.0', 30), join(host.store, 'inbox', 'dropped.postern'));
    await comesIntoForce('0.3.0');
    await until(() => readdirSync(join(host.store, 'inbox')).length === 0, 'the inbox to be empty');
  });

  it('refuses what is dropped unsigned, and keeps what is in force', async () => {
    copyFileSync(packaged('0.4.0', 40, null), join(host.store, 'inbox', 'unsigned.postern'));
    await until(() => statusOf().refused.length === 1, 'the refusal');
    const path = join(host.store, 'inbox', 'unsigned.postern.refused');
    expect(statusOf().refused).toMatchObject([
      { file: 'unsigned.postern', path, code: 'POSTERN_PKG_UNSIGNED' },
    ]);
    expect(existsSync(path)).toBe(true);
    expect(stateOf()).toMatchObject({ inForce: { version: '0.3.0' } });
  });

  it('tells of what is dropped and not even readable, until somebody takes it away', async () => {
    const inbox = join(host.store, 'inbox');
    writeFileSync(join(inbox, 'cut.postern'), readFileSync(packaged('0.4.1', 41)).subarray(0, 9999));
    mkdirSync(join(inbox, 'folder.postern'));
    symlinkSync('nowhere', join(inbox, 'link.postern'));
    const dropped = ['cut.postern', 'folder.postern', 'link.postern'];
    await until(() => statusOf().refused.length === 1 + dropped.length, 'the refusals');
    const codes = Object.fromEntries(statusOf().refused.map(({ file, code }) => [file, code]));
    expect(codes).toMatchObject({
      'cut.postern': 'POSTERN_PKG_MEMBER_MISSING',
      'folder.postern': 'POSTERN_PKG_NOT_A_FILE',
      'link.postern': 'POSTERN_PKG_NOT_A_FILE',
    });
    const list = (...rest: string[]): string =>
      postern(['policy', 'list', '--store', host.store, ...rest]).out;
    for (const text of [list(), host.command('policy status').out, list('--history')])
      for (const file of dropped) expect(text).toContain(`${file} (${codes[file]}): `);
    for (const file of [...dropped, 'unsigned.postern'])
      rmSync(join(inbox, `${file}.refused`), { recursive: true });
    expect(statusOf().refused).toEqual([]);
    expect(list()).not.toContain('cut.postern');
    expect(list('--history')).toContain('cut.postern');
  });

  it('has a candidate judge in shadow, and puts it in force when it is promoted', async () => {
    expect(policy('install', '--shadow', '--trust', host.trust, packaged('0.5.0', 50)).status).toBe(0);
    await until(() => stateOf().candidate?.version === '0.5.0', 'the candidate');
    await until(
      () => /^pty: candidate 0\.5\.0 \(sequence 50\), [1-9]\d* decisions, no difference$/m.test(report()),
      'it to judge',
    );
    expect(stateOf()).toMatchObject({ inForce: { version: '0.3.0' } });
    const { out } = policy('promote', 'pty', '--json');
    expect(JSON.parse(out)).toMatchObject({
      version: '0.5.0',
      host: { state: 'taken', guests: ['perl'], kept: [] },
    });
    expect(stateOf()).toMatchObject({
      inForce: { version: '0.5.0' },
      previous: { version: '0.3.0' },
      candidate: null,
    });
    await until(() => report() === 'No candidate judges.\n', 'the shadow to end');
  });

  const report = (): string => host.command('policy shadow-report').out;

  it('goes back when it is told to, and does not fall back to what was gone back from', async () => {
    expect(policy('rollback', 'pty')).toMatchObject({ status: 0, err: '' });
    expect(stateOf()).toMatchObject({
      inForce: { version: '0.3.0' },
      previous: { version: '0.2.0' },
      quarantined: [],
    });
    expect(listed()).toMatchObject({ inForce: { version: '0.3.0' }, previous: [{ version: '0.2.0' }] });
    expect(policy('rollback', 'pty').out).toContain('pty: 0.2.0 (sequence 20) is in force again.');
    expect(policy('rollback', 'pty').out).toContain('the module that came with Postern is in force again.');
    expect(stateOf()).toMatchObject({ inForce: { version: BUILT_IN }, previous: null });
    expect(listed()).toMatchObject({ inForce: { from: 'postern' }, previous: [] });
    expect(policy('rollback', 'pty')).toMatchObject({ status: 3 });
    expect(guest.out).toBe('opened\n');
  });

  const listed = (): unknown =>
    (
      JSON.parse(postern(['policy', 'list', '--store', host.store, '--json']).out) as {
        classes: { class: string }[];
      }
    ).classes.find((each) => each.class === 'pty');

  it('says so when the host does not take over what the store has', async () => {
    const { publicKey } = generateKey('ed25519', join(host.folder, 'other'));
    const elsewhere = join(host.folder, 'elsewhere.json');
    const classes = { pty: { keys: ['other'], threshold: 1 } };
    writeFileSync(elsewhere, JSON.stringify({ keys: { other: { publicKey } }, classes }));
    const before = stateOf().inForce;
    const file = packaged('0.6.0', 60, 'other');
    const { status, out } = policy('install', '--trust', elsewhere, file);
    expect(status).toBe(4);
    expect(out).toContain('pty 0.6.0 (sequence 60) is in force in');
    expect(out).toContain('goes on with what it had: POSTERN_STORE_UNTRUSTED: pty 0.6.0');
    expect(out).toContain('POSTERN_PKG_KEY_UNKNOWN');
    expect(stateOf().inForce).toEqual(before);
    expect(policy('rollback', 'pty').status).toBe(0);
  });

  it('is not waited for when that is not wanted, nor when it is another’s', () => {
    const file = packaged('0.7.0', 70);
    const other = ['--store', join(host.folder, 'other-store'), '--trust', host.trust];
    const { status, out } = postern(['policy', 'install', '--socket', host.socket, ...other, file]);
    expect(status).toBe(0);
    expect(out).toContain(`uses the store ${host.store}: this does not concern it.`);
    const hurried = policy('install', '--no-wait', '--json', '--trust', host.trust, file);
    expect(hurried.status).toBe(0);
    expect(JSON.parse(hurried.out)).toMatchObject({ version: '0.7.0', host: { state: 'not asked' } });
  });
});
