/** What is wrong with one class's module in a store is that class's affair. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { PolicyStore } from '../../host/package/store.js';
import type { ClassState } from '../../host/serve/protocol.js';
import { postern, until } from '../cli/postern.js';
import { CLASS, goodMembers, newSigner, signedBy, trusting } from '../package/support.js';
import { ServedHost } from './support.js';

const alice = newSigner('alice');

describe.skipIf(!allOk(examineMachine(), 'required'))('a store with one package that is damaged', () => {
  let host: ServedHost;
  const pack = async (sequence: number): Promise<Buffer> =>
    signedBy(await goodMembers({ sequence, version: `0.${sequence}.0` }), alice);
  const stateOf = (deviceClass: string): ClassState | undefined =>
    (JSON.parse(host.command('policy status', '--json').out) as { classes: ClassState[] }).classes.find(
      (each) => each.class === deviceClass,
    );
  const policy = (command: string, ...rest: string[]): ReturnType<typeof postern> =>
    postern(['policy', command, '--store', host.store, ...rest]);

  beforeAll(async () => {
    host = await ServedHost.start();
    const classes = { [CLASS]: { keys: ['alice'], threshold: 1 } };
    writeFileSync(host.trust, JSON.stringify({ keys: { alice: { publicKey: alice.publicKey } }, classes }));
    await new PolicyStore(host.store).install(await pack(90), { trust: trusting([alice]) });
    await until(() => stateOf(CLASS)?.inForce?.version === '0.90.0', 'it to be in force');
  });
  afterAll(() => host?.close());

  function damage(): void {
    const folder = join(host.store, 'packages');
    const [name = ''] = readdirSync(folder);
    writeFileSync(join(folder, name), readFileSync(join(folder, name)).subarray(0, 5000));
  }

  it('has a running host go on with what it had, and say what is wrong', async () => {
    damage();
    // The host records what it refuses, which changes the store, so that it looks at all of it again.
    writeFileSync(join(host.store, 'inbox', 'junk.postern'), 'junk');
    await until(() => stateOf(CLASS)?.failure !== null, 'the host to look');
    expect(stateOf(CLASS)).toMatchObject({
      inForce: { version: '0.90.0' },
      failure: expect.stringContaining('POSTERN_STORE_DIGEST: '),
    });
  });

  it('is told by the list, with the status of a refusal, and every other class is there', () => {
    const { status, out } = policy('list');
    expect(status).toBe(3);
    expect(out).toContain(
      `${CLASS} 0.90.0 can't be loaded, so nobody gets devices of the class (POSTERN_STORE_DIGEST)`,
    );
    expect(out).toContain(`postern policy rollback ${CLASS}`);
    expect(out).toMatch(/^pty /m);
  });

  it('has a host that begins give nobody that class, and all others to whoever asks', async () => {
    host.process.child.kill('SIGTERM');
    await host.process.end();
    await host.restart();
    expect(stateOf(CLASS)).toMatchObject({
      inForce: null,
      failure: expect.stringContaining('POSTERN_STORE_DIGEST'),
    });
    expect(stateOf('pty')).toMatchObject({ failure: null });
    expect(host.run('perl', '-e', 'open(my $f, "+<", "/dev/ptmx") or die $!; print "opened"')).toMatchObject({
      ...{ status: 0, out: 'opened' },
    });
    const alone = postern([
      ...['run', '--alone', '--driver-vm', 'local', '--store', host.store, '--trust', host.trust],
      ...['--', 'perl', '-e', 'open(my $f, "+<", "/dev/ptmx") or die $!; print "opened"'],
    ]);
    expect(alone).toMatchObject({ status: 0, out: 'opened' });
    expect(alone.err).toContain(
      `no device of the class '${CLASS}' is given to a guest (POSTERN_STORE_DIGEST)`,
    );
  });

  it('is whole again once a good version is installed, or the one before it is gone back to', async () => {
    expect(policy('rollback', CLASS, '--socket', host.socket)).toMatchObject({ status: 0 });
    expect(stateOf(CLASS)).toMatchObject({ inForce: { name: CLASS }, failure: null });
    expect(policy('list').status).toBe(0);
  });
});
