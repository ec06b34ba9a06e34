import { describe, expect, it } from 'vitest';
import { postern } from './postern.js';

describe('postern’s arguments', () => {
  it.each([
    [['--help'], 'Let programs use device files'],
    [['run', '--help'], '-- PROGRAM [ARGUMENTS...]'],
    [['run', '--help'], 'WARNING: the guest may then'],
    [['devices', '--help'], 'A device without a policy is not given to guests;'],
    [['doctor', '--help'], 'The exit status is 1 when guests cannot run here'],
    [['--version'], '0.1.0'],
  ])('%j is answered on standard output', (parameters, text) => {
    const { status, out, err } = postern(parameters);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toContain(text);
  });

  it.each([
    [[], 'Usage: postern'],
    [['rnu'], "unknown command 'rnu'"],
    [['run'], "missing required argument 'program'"],
    [['run', '--devcie', 'video0', '--', 'true'], "unknown option '--devcie'"],
    [['run', '--device', '../mem', '--', 'true'], "'../mem' is not a device name such as video0."],
    [['run', '--device', 'video0=/etc/passwd', '--', 'true'], "'/etc/passwd' is not a path below /dev"],
    [['run', '--driver-vm', 'warm', '--', 'true'], 'Allowed choices are snapshot, cold, local.'],
    [['run', '--driver', ' ', '--', 'true'], "expected a module's name"],
    [['devices', 'video0'], 'too many arguments'],
    [['policy', 'build', 'lamp'], "There is no class 'lamp': expected a folder with lamp.manifest.json"],
    [['policy', 'sign', 'a.postern', '--key', 'gone.key'], 'postern: gone.key: there is no such file'],
    [['policy', 'trust', 'me', 'gone.pub', '--class', 'tun'], 'postern: gone.pub: there is no such file'],
    [['policy', 'keygen', 'gone/key'], 'postern: gone/key: there is no such file or folder.'],
    [['audit', 'verify', 'gone.jsonl'], 'postern: gone.jsonl: there is no such file'],
    [['policy', 'list', '--frob'], "unknown option '--frob'"],
  ])('%j is refused on standard error with status 125', (parameters, text) => {
    const { status, out, err } = postern(parameters);
    expect({ status, out }).toEqual({ status: 125, out: '' });
    expect(err).toContain(text);
    expect(err).not.toMatch(/\n +at /);
  });
});
