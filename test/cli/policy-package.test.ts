/** The commands about packages, as they are typed: from a new class to one that is in force. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../package/support.js';
import { type Outcome, postern } from './postern.js';

const { folder, remove } = temporaryFolder();
afterAll(remove);

const at = (name: string): string => join(folder, name);
const FILE = at('lamp-0.1.0.postern');
const TRUST = ['--trust', at('trust.json')];
const STORE = ['--store', at('store')];

/** `postern policy`, which must end with that status. */
function policy(status: number, ...parameters: string[]): Outcome {
  const outcome = postern(['policy', ...parameters], '', folder);
  expect(outcome, outcome.err).toMatchObject({ status });
  return outcome;
}
const parsed = (outcome: Outcome): Record<string, unknown> => JSON.parse(outcome.out);
const refusal = (outcome: Outcome): unknown => (parsed(outcome).error as { code: string }).code;

describe('a class outside the repository', () => {
  it('builds, is signed by two people, installed, listed, and gone back from', () => {
    expect(policy(0, 'new', 'lamp').out).toContain('policy build');
    expect(policy(0, 'build', 'lamp').out).toContain(
      'lamp 0.1.0 (sequence 1), 2 commands, 6 test vectors passed; unsigned.',
    );
    const first = readFileSync(FILE);
    policy(0, 'build', 'lamp', '--output', at('again.postern'));
    expect(readFileSync(at('again.postern'))).toEqual(first);
    policy(0, 'keygen', 'alice');
    policy(0, 'keygen', '--type', 'p256', 'bob');
    expect(statSync(at('alice')).mode & 0o777).toBe(0o600);
    policy(0, 'trust', 'alice', 'alice.pub', '--class', 'lamp', ...TRUST);
    policy(0, 'trust', 'bob', 'bob.pub', '--class', 'lamp', '--threshold', '2', ...TRUST);
    expect(refusal(policy(3, 'verify', FILE, '--json', ...TRUST))).toBe('POSTERN_PKG_UNSIGNED');
    policy(0, 'sign', FILE, '--key', 'alice');
    policy(0, 'sign', FILE, '--key', 'alice');
    expect(refusal(policy(3, 'install', FILE, '--json', ...TRUST, ...STORE))).toBe('POSTERN_PKG_THRESHOLD');
    expect(existsSync(at('store'))).toBe(false);
    policy(0, 'sign', FILE, '--key', 'bob');
    expect(parsed(policy(0, 'verify', FILE, '--json', ...TRUST))).toMatchObject({
      signers: ['alice', 'bob'],
      vectors: 6,
    });
    expect(policy(0, 'install', FILE, ...TRUST, ...STORE).out).toContain(
      'lamp 0.1.0 (sequence 1) is in force',
    );
    const { classes } = parsed(policy(0, 'list', '--json', ...STORE)) as {
      classes: { class: string; inForce: { from: string } }[];
    };
    expect(classes.find((entry) => entry.class === 'lamp')).toMatchObject({
      inForce: { from: 'store', signers: ['alice', 'bob'] },
    });
    expect(classes.find((entry) => entry.class === 'pty')).toMatchObject({ inForce: { from: 'postern' } });
    expect(policy(3, 'rollback', 'lamp', ...STORE).err).toContain('refused (POSTERN_STORE_NOTHING)');
    expect(policy(0, 'list', '--history', ...STORE).out).toContain('install');
  }, 180_000);

  it('is shown with what it permits, and with who signed it', () => {
    const { out } = policy(0, 'inspect', FILE, ...TRUST);
    for (const part of [
      /^alice +[0-9a-f]{16} +good$/m,
      /^LAMP_SET_STATE +0x40046502 +4$/m,
      /^LAMP_RESET +0x00006503 +a reset/m,
      /^memory, at most +256 KiB$/m,
    ])
      expect(out).toMatch(part);
    const shown = parsed(policy(0, 'inspect', FILE, '--json', ...TRUST));
    expect(shown).toMatchObject({ world: { exports: ['describe', 'admit', 'complete'], memoryPagesMax: 4 } });
    policy(0, 'keygen', 'eve');
    policy(0, 'sign', FILE, '--key', 'eve');
    expect(policy(0, 'inspect', FILE, ...TRUST).out).toMatch(/not good: .* is not in .*trust\.json/);
    expect(refusal(policy(3, 'install', FILE, '--json', ...TRUST, ...STORE))).toBe('POSTERN_PKG_KEY_UNKNOWN');
  });

  it('is not written over, nor is a key', () => {
    expect(policy(125, 'new', 'lamp').err).toContain('is there already');
    expect(policy(125, 'new', '../lamp').err).toContain("can't be a class's name");
    expect(policy(125, 'keygen', 'alice').err).toContain('it is there already');
  });

  it('that is not there is said to be', () => {
    expect(policy(3, 'inspect', at('nothing.postern')).err).toContain('refused (POSTERN_PKG_NOT_A_FILE)');
    expect(policy(3, 'install', FILE, '--trust', at('no.json'), ...STORE).err).toContain(
      'refused (POSTERN_PKG_TRUST)',
    );
    expect(policy(125, 'build', 'nothing').err).toContain("There is no class 'nothing'");
  });
});
