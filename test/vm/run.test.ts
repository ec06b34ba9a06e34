import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { Vms } from './support.js';

const vms = new Vms();
let vm: DriverVm;

beforeAll(async () => {
  vm = await vms.start({ shareRoot: true });
});
afterAll(() => vms.closeAll());

async function run(
  ...argv: string[]
): Promise<{ code: number | null; signal: number | null; output: string }> {
  let output = '';
  const end = await vm.run(argv, (chunk) => {
    output += chunk.toString();
  });
  return { ...end, output };
}

describe('a program beside the driver', () => {
  it('finds the unmodified driver', async () => {
    const { output } = await run('v4l2-compliance', '-d', '/dev/video0');
    expect(output).toMatch(/Driver name\s+: vivid/);
    expect(output).toMatch(/Total for vivid device \/dev\/video0: \d+, Succeeded: \d+, Failed: \d+/);
  });

  it('has its status told', async () => {
    expect(await run('sh', '-c', 'echo out; echo err >&2; exit 7')).toEqual({
      code: 7,
      signal: null,
      output: 'out\nerr\n',
    });
    expect(await run('sh', '-c', 'kill -9 $$')).toMatchObject({ code: null, signal: 9 });
    expect(await run('no-such-program')).toMatchObject({ code: 127 });
  });

  it('streams what it writes', async () => {
    const { output } = await run('sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x');
    expect(output.length).toBe(3_000_000);
  });

  it("can't change this machine's files", async () => {
    expect(await run('touch', '/etc/postern-was-here')).toMatchObject({ code: 1 });
  });

  it('has no network, no disk, and of this machine only files that can’t be written', async () => {
    const { output } = await run('sh', '-c', 'ls /sys/class/net; ls /sys/block; grep 9p /proc/mounts');
    const lines = output.trim().split('\n');
    expect(lines[0]).toBe('lo');
    expect(
      lines.slice(1).every((line) => / 9p ro[,\s]/.test(line)),
      output,
    ).toBe(true);
    expect(lines.length).toBeGreaterThan(1);
  });

  it('waits for the one before it', async () => {
    const outputs = await Promise.all([1, 2, 3].map((n) => run('echo', `${n}`)));
    expect(outputs.map(({ output }) => output)).toEqual(['1\n', '2\n', '3\n']);
  });

  // The last one: the VM is gone after it.
  it('can panic the kernel, and nothing else', async () => {
    const reason = new Promise<string>((resolve) => vm.onExit(resolve));
    await expect(run('sh', '-c', 'echo c >/proc/sysrq-trigger; sleep 60')).rejects.toThrow(
      'The driver VM has ended: its kernel panicked: sysrq triggered crash',
    );
    expect(await reason).toMatch(/^its kernel panicked/);
  });
});
