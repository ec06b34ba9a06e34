/** What the commands about policies and logs end with: one scheme, as their help says, tried over all of them. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionLog } from '../../host/audit/log.js';
import { DecisionTap } from '../../host/audit/tap.js';
import { program } from '../../host/cli/program.js';
import { pack, unpack } from '../../host/package/archive.js';
import { packSources } from '../../host/package/create.js';
import { canonicalJson } from '../../host/package/json.js';
import { openPackage, policyOf, readPackageFile } from '../../host/package/package.js';
import { PolicyInstance } from '../../host/policy/abi.js';
import { meteredModule } from '../../host/policy/meter.js';
import { temporaryFolder } from '../package/support.js';
import { callOf, EFAULT } from '../policy/support.js';
import { runHere } from './in-process.js';

const { folder, remove } = temporaryFolder();
const at = (name: string): string => join(folder, name);
const LAMP = at('lamp.postern');
/** Further versions of the class: one that allows a further bit, and one that refuses a command, which its vectors do not say. */
const BRIGHT = at('bright.postern');
const DARK = at('dark.postern');
const DAMAGED = at('damaged.postern');
const LOG = at('decisions.log');
const KEY = at('key');
const FEW = ['--calls', '60'];
const TRUST = ['--trust', at('trust.json')];
const NO_TRUST = ['--trust', at('none.json')];
const STORE = ['--store', at('store'), '--socket', at('nobody.sock')];
const LAMP_SET_STATE = 0x40046502;
/** Accepts connections, and never says anything. */
let silent: Server;

beforeAll(async () => {
  process.chdir(folder);
  await good('policy', 'new', 'lamp');
  variant(at('bright/lamp'), 'const STATE_BITS: u64 = 0x1', 'const STATE_BITS: u64 = 0x3');
  writeFileSync(BRIGHT, await packSources('lamp', at('bright/lamp')));
  variant(at('dark/lamp'), 'commands([LAMP_SET_STATE]);', 'refuse([LAMP_SET_STATE], ENOTTY, EVERYBODY);');
  writeFileSync(DARK, await packSources('lamp', at('dark/lamp')));
  writeFileSync(at('untested.postern'), await untested());
  const call = { operation: 'ioctl', command: 'LAMP_SET_STATE', head: { bytes: 4 } };
  writeFileSync(at('good.json'), JSON.stringify(call));
  writeFileSync(at('bad.json'), JSON.stringify([call, { ...call, head: { bytes: 4, at: { '1': '01' } } }]));
  await good('policy', 'build', 'lamp', '--output', LAMP);
  await good('policy', 'keygen', KEY);
  await good('policy', 'sign', LAMP, '--key', KEY);
  await good('policy', 'trust', 'me', `${KEY}.pub`, '--class', 'lamp', ...TRUST);
  writeFileSync(DAMAGED, readFileSync(LAMP).subarray(0, 2000));
  await writeLog();
  writeFileSync(at('spoilt.log'), readFileSync(LOG, 'utf8').replace('"allow"', '"deny"'));
  silent = createServer().listen(at('silent.sock'));
});
afterAll(() => {
  process.chdir('/');
  silent.close();
  remove();
});

async function good(...parameters: string[]): Promise<void> {
  const { status, err } = await runHere(...parameters);
  expect(status, `${parameters.join(' ')}: ${err}`).toBe(0);
}

function variant(path: string, from: string, to: string): void {
  cpSync(at('lamp'), path, { recursive: true });
  const source = readFileSync(join(path, 'lamp.ts'), 'utf8');
  expect(source).toContain(from);
  writeFileSync(join(path, 'lamp.ts'), source.replace(from, to));
}

/** The class with the first of its vectors alone. */
async function untested(): Promise<Buffer> {
  const members = new Map(unpack(await packSources('lamp', at('lamp'))));
  const { vectors, ...rest } = JSON.parse(String(members.get('vectors.json'))) as { vectors: object[] };
  members.set('vectors.json', canonicalJson({ ...rest, vectors: vectors.slice(0, 1) }));
  return pack(members);
}

/** A log of two operations: one that all versions but the dark one allow, and one that only the bright one allows. */
async function writeLog(): Promise<void> {
  const policy = policyOf(openPackage(readPackageFile(LAMP)), LAMP);
  const instance = new PolicyInstance(await meteredModule(policy.core), policy.manifest, () => EFAULT);
  const module = { info: instance.describe(), input: { manifest: policy.manifest, digest: policy.digest } };
  const log = await DecisionLog.open({ path: LOG, tellsArguments: true, onTrouble: () => {} });
  const tap = new DecisionTap(log.tapFor('guest', 1));
  for (const bits of [1, 2]) {
    const call = callOf({ command: LAMP_SET_STATE });
    const head = Uint8Array.of(bits, 0, 0, 0);
    const verdict = instance.admit(call, head);
    tap.decided(module, call, head, verdict, process.pid);
    if (verdict.tag === 'allow') tap.done(call, process.pid, 0n);
  }
  tap.close();
  await log.close();
}

/** A command, what it must end with, and what it gets, in this order: later rows find what earlier ones have left. */
const ROWS: [command: string, status: number, ...parameters: string[]][] = [
  ['policy new', 0, 'bulb'],
  ['policy new', 125, 'bulb'],
  ['policy build', 0, 'lamp', '--output', at('again.postern')],
  ['policy build', 3, at('dark/lamp'), '--output', at('nothing.postern')],
  ['policy build', 125, 'nothing'],
  ['policy keygen', 0, at('other')],
  ['policy keygen', 125, at('other')],
  ['policy sign', 0, LAMP, '--key', KEY],
  ['policy sign', 3, DAMAGED, '--key', KEY],
  ['policy sign', 125, LAMP, '--key', at('nokey')],
  ['policy trust', 0, 'other', at('other.pub'), '--class', 'bulb', ...TRUST],
  ['policy trust', 3, 'other', LAMP, '--class', 'bulb', ...TRUST],
  ['policy trust', 125, 'other', at('other.pub'), '--class', 'bulb', '--threshold', 'all', ...TRUST],
  ['policy verify', 0, LAMP, ...TRUST],
  ['policy verify', 3, at('again.postern'), ...TRUST],
  ['policy verify', 125],
  ['policy inspect', 0, LAMP, ...TRUST],
  ['policy inspect', 3, DAMAGED],
  ['policy inspect', 125],
  ['policy test', 0, 'lamp', ...FEW],
  ['policy test', 1, DARK, ...FEW],
  ['policy test', 3, DAMAGED],
  ['policy test', 125, 'nothing'],
  ['policy test', 1, at('untested.postern'), '--threshold', '100', ...FEW],
  ['policy judge', 0, LAMP, at('good.json')],
  ['policy judge', 1, LAMP, at('bad.json')],
  ['policy judge', 3, DAMAGED, at('good.json')],
  ['policy judge', 125, LAMP, KEY],
  ['policy bench', 0, LAMP],
  ['policy bench', 3, DAMAGED],
  ['policy bench', 125, 'nothing'],
  ['policy diff', 0, LAMP, 'lamp', ...FEW],
  ['policy diff', 1, LAMP, DARK, ...FEW],
  ['policy diff', 2, LAMP, BRIGHT, ...FEW],
  ['policy diff', 3, LAMP, DAMAGED, ...FEW],
  ['policy diff', 125, LAMP, 'nothing'],
  ['policy coverage', 0, 'tun'],
  ['policy coverage', 125, 'nothing'],
  ['policy list', 0, '--store', at('nostore')],
  ['policy list', 3, '--history', '--store', at('nostore')],
  ['policy list', 125, '--nonsense'],
  ['policy install', 3, LAMP, ...NO_TRUST, ...STORE],
  ['policy install', 0, LAMP, ...TRUST, ...STORE],
  [
    'policy install',
    4,
    LAMP,
    ...TRUST,
    '--store',
    at('store'),
    '--socket',
    at('silent.sock'),
    '--wait',
    '0.2',
  ],
  ['policy install', 125, LAMP, '--wait', 'forever'],
  ['policy rollback', 3, 'lamp', ...STORE],
  ['policy rollback', 125],
  ['policy promote', 3, 'lamp', ...STORE],
  ['policy promote', 125],
  ['policy withdraw', 3, 'lamp', ...STORE],
  ['policy withdraw', 125],
  ['policy status', 125, '--socket', at('nobody.sock')],
  ['policy shadow-report', 125, '--socket', at('nobody.sock')],
  ['audit check', 0, LAMP, ...FEW],
  ['audit check', 1, DARK, ...FEW],
  ['audit check', 3, DAMAGED],
  ['audit check', 125, 'nothing'],
  ['audit report', 0, LAMP, '--html', at('report.html')],
  ['audit report', 1, DARK],
  ['audit report', 3, DAMAGED],
  ['audit report', 125, 'nothing'],
  ['audit verify', 0, LOG],
  ['audit verify', 1, at('spoilt.log')],
  ['audit verify', 125, at('no.log')],
  ['replay', 0, LOG, '--policy', LAMP],
  ['replay', 1, LOG, '--policy', DARK],
  ['replay', 2, LOG, '--policy', BRIGHT],
  ['replay', 3, LOG, '--policy', DAMAGED],
  ['replay', 125, LOG, '--policy', 'pty'],
];

/** What a help says and no row here tries, with the test that does. */
const TRIED_ELSEWHERE: Readonly<Record<string, number[]>> = {
  'policy coverage': [1], // test/cli/policy-coverage.test.ts
  'policy rollback': [0, 4], // test/serve/store.test.ts, as are those below
  'policy promote': [0, 4],
  'policy withdraw': [0, 4],
  'policy status': [0],
  'policy shadow-report': [0],
};

describe('the exit status', () => {
  it.each(ROWS)('of %s is %i (%#)', async (command, status, ...parameters) => {
    const result = await runHere(...command.split(' '), ...parameters);
    expect(result.status, result.out + result.err).toBe(status);
    if (status === 3) expect(result.err).toMatch(/^postern: refused \(POSTERN_[A-Z_]+\): /);
    if (status === 125) expect(result.err).toMatch(/^(postern|error): /);
    // What the system calls its errors is no sentence.
    expect(result.err).not.toMatch(/\bE(NOENT|ACCES|EXIST|ISDIR|NOTDIR)\b/);
  });

  it('is what the help of each command says, and all that it says is tried', () => {
    for (const [name, command] of commands()) {
      const said = [...helpOf(command).matchAll(/^ {2}(\d+): /gm)].map(([, number]) => Number(number));
      const tried = ROWS.filter(([each]) => each === name).map(([, status]) => status);
      const elsewhere = TRIED_ELSEWHERE[name] ?? [];
      expect([...new Set([...tried, ...elsewhere])].sort(), name).toEqual([...said].sort());
    }
  });
});

describe('the result as JSON', () => {
  it('can be had from every command, a refusal too', async () => {
    for (const [name, command] of commands()) {
      expect(
        command.options.map(({ long }) => long),
        name,
      ).toContain('--json');
      const [, , ...parameters] = ROWS.find(([each, status]) => each === name && status === 3) ?? [];
      if (parameters.length === 0) continue;
      const { out, err } = await runHere(...name.split(' '), ...parameters, '--json');
      expect(JSON.parse(out), name).toEqual({
        error: { code: expect.stringMatching(/^POSTERN_/), message: expect.any(String) },
      });
      expect(err).toBe('');
    }
  });
});

/** The commands about policies and logs, by what is typed. */
function commands(): [string, Command][] {
  return program().commands.flatMap((command): [string, Command][] => {
    if (command.name() === 'replay') return [['replay', command]];
    if (!['policy', 'audit'].includes(command.name())) return [];
    return command.commands.map((each) => [`${command.name()} ${each.name()}`, each]);
  });
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (more) => {
      text += more;
    },
  });
  command.outputHelp();
  return text;
}

describe('policy test --coverage', () => {
  it('names what no vector shows, and nothing where all is shown', async () => {
    const { coverage } = JSON.parse(
      (await runHere('policy', 'test', LAMP, '--coverage', '--json', ...FEW)).out,
    );
    expect(coverage).toMatchObject({ percent: 100, neverAllowed: [], neverRefused: [], neverGiven: [] });
    const { out } = await runHere('policy', 'test', at('untested.postern'), '--threshold', '0', ...FEW);
    for (const line of [
      'The vectors show 1 of the 7 commands, file operations, settlements and reasons (14 %).',
      '  no vector says what follows: open',
      '  no vector is allowed: LAMP_SET_STATE',
      '  no vector is denied: LAMP_RESET',
      '  no vector gets the reason: only the first bit of the state means anything',
    ])
      expect(out).toContain(`${line}\n`);
  });
});

describe('policy judge', () => {
  it('tells the verdict on each call, and what is wrong with what is none', async () => {
    const { out } = await runHere('policy', 'judge', LAMP, at('bad.json'));
    expect(out).toContain('LAMP_SET_STATE: allowed: head to-driver\n');
    expect(out).toContain('LAMP_SET_STATE: denied: EINVAL, only the first bit of the state means anything\n');
    writeFileSync(at('none.json'), '[{"operation":"fly"}]');
    const { err } = await runHere('policy', 'judge', LAMP, at('none.json'));
    expect(err).toContain('/vectors/0/operation');
  });
});
