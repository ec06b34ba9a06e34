import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { closeDomain, everyServedDevice } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { type DriverVm, startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { runGuest } from '../../host/mediator/guest.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

describe.skipIf(!hasDriverVm)('two cameras of one driver', () => {
  const program = compileGuestProgram('camera', 'classes');
  let vm: DriverVm;

  beforeAll(async () => {
    // node_types: only capturing, so that there are /dev/video0 and /dev/video1.
    const drivers = ['vivid n_devs=2 node_types=0x1,0x1'];
    vm = await startDriverVm({ drivers, shareRoot: false, log: () => {} });
  });
  afterAll(() => closeDomain(vm));

  /** What a guest says, a line at a time, to `onOutput` and in the end. */
  async function guest(
    args: string[],
    onOutput: (said: string, launcher: ChildProcess) => void,
  ): Promise<Record<string, string>> {
    let output = '';
    await runGuest({
      program,
      args,
      devices: await everyServedDevice(vm),
      domain: vm,
      log: openLog({}),
      name: args[0] ?? '',
      stdio: ['pipe', 'pipe', 'pipe'],
      onStart: (launcher) => {
        for (const stream of [launcher.stdout, launcher.stderr])
          stream?.on('data', (chunk: Buffer) => {
            output += chunk.toString();
            onOutput(output, launcher);
          });
      },
    });
    return Object.fromEntries(
      output
        .trim()
        .split('\n')
        .map((line) => line.split(' ')),
    );
  }

  it('a guest maps the buffers of its own, and those of another guest by no offset that it has learnt', async () => {
    let looking: Promise<Record<string, string>> | undefined;
    const held = await guest(['hold', '/dev/video0'], (said, launcher) => {
      if (looking !== undefined || !said.includes('query ok')) return;
      looking = guest(['look', '/dev/video1', '/dev/video0'], () => {}).finally(() =>
        launcher.stdin?.end('\n'),
      );
    });
    expect(held).toEqual({ request: 'ok', query: 'ok' });
    expect(await looking).toEqual({
      request: 'ok',
      query: 'ok',
      own: 'ok',
      foreign: 'EINVAL',
      'give-back': 'ok',
      'given-back': 'EINVAL',
    });
  });
});
