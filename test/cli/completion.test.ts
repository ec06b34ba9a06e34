/** What shells complete: by the commands' own tables, asked by the scripts, tried in each shell. */
import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { SHELLS, type Shell } from '../../host/cli/completion.js';
import { completionScript } from '../../host/cli/completion-scripts.js';
import { completions } from '../../host/cli/completions.js';
import { program } from '../../host/cli/program.js';
import { loadPolicies } from '../../host/policy/store.js';
import { runHere } from './in-process.js';

const root = program();

/** The candidates at the end of a line, and what the shell adds. */
function complete(...words: string[]): { values: string[]; more: string } {
  const lines = completions(root, words).trimEnd().split('\n');
  return { values: lines.slice(0, -1).map((line) => line.split('\t')[0] ?? ''), more: lines.at(-1) ?? '' };
}

/** Every command that is shown, by the words that call it. */
function commandsBelow(command: Command, words: string[] = []): [string[], Command][] {
  const shown = command
    .createHelp()
    .visibleCommands(command)
    .filter((each) => each.name() !== 'help');
  return [[words, command], ...shown.flatMap((each) => commandsBelow(each, [...words, each.name()]))];
}

describe('what is completed', () => {
  it('is every command and every long option of each, and nothing else', () => {
    const all = commandsBelow(root);
    expect(all.length).toBeGreaterThan(30);
    for (const [words, command] of all) {
      const options = command.options.filter(({ hidden }) => !hidden).map(({ long }) => long);
      expect(complete(...words, '--').values.sort(), words.join(' ')).toEqual([...options, '--help'].sort());
      if (command.commands.length === 0) continue;
      const below = command
        .createHelp()
        .visibleCommands(command)
        .map((each) => each.name());
      expect(complete(...words, '').values, words.join(' ')).toEqual(below);
    }
    expect(complete('').values).not.toContain('complete');
  });

  it.each<[string, string[], string[], string]>([
    ['a command that has begun', ['policy', 'ins'], ['inspect', 'install'], ':none'],
    ['an option’s values', ['run', '--driver-vm', ''], ['snapshot', 'cold', 'local'], ':none'],
    ['them behind a sign', ['run', '--driver-vm=l'], ['--driver-vm=local'], ':none'],
    ['them behind a sign of its own, as in bash', ['run', '--driver-vm', '=', 'l'], ['local'], ':none'],
    ['an argument’s values', ['completion', ''], [...SHELLS], ':none'],
    ['classes, and packages', ['policy', 'test', 'v4'], ['v4l2'], ':files'],
    ['classes behind an option and its value', ['policy', 'rollback', '--why', 'x', 'pt'], ['pty'], ':none'],
    ['a file', ['policy', 'install', ''], [], ':files'],
    ['an option’s file', ['policy', 'install', '--trust', ''], [], ':files'],
    ['the guest’s program', ['run', '--', ''], [], ':commands'],
    ['the guest’s program, without the sign', ['run', 'pe'], [], ':commands'],
    ['the program’s arguments', ['run', '--', 'cat', '--dri'], [], ':files'],
    ['nothing behind the last argument', ['policy', 'new', 'lamp', 'x'], [], ':none'],
    ['nothing of what is not there', ['polish', 'in'], [], ':none'],
    ['nothing of a program’s own dashes', ['run', '--', 'cat', '--', '--d'], [], ':files'],
  ])('is %s', (_what, words, values, more) => {
    expect(complete(...words)).toEqual({ values, more });
  });

  it('is what the hidden command prints', async () => {
    const { status, out } = await runHere('complete', '--', 'policy', 'prom');
    expect({ status, out }).toEqual({
      status: 0,
      out: 'promote\tput the candidate of a class in force\n:none\n',
    });
    const { out: classes } = await runHere('complete', '--', 'policy', 'coverage', '');
    expect(classes).toContain(
      loadPolicies()
        .map(({ manifest }) => manifest.class)
        .join('\t\n'),
    );
    expect((await runHere('completion', 'bash')).out).toBe(completionScript('bash'));
    expect((await runHere('completion', 'tcsh')).status).toBe(125);
  });
});

/** What each shell is given behind the script to tell what it completes of a line, one candidate a line. */
const PROBES: Readonly<Record<Shell, (words: string[]) => string>> = {
  bash: (words) =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _postern; printf '%s\\n' "\${COMPREPLY[@]}"`,
  fish: (words) => `complete -C '${words.join(' ')}' | string replace -r '\\t.*' ''`,
  // Without a terminal zsh has no completion: what the script hands to zsh's own functions is looked at.
  zsh: (words) => `words=(${words.map((word) => `'${word}'`).join(' ')}); CURRENT=${words.length}; _postern`,
};
const ZSH_STUBS =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder is zsh’s own.
  'compdef() {}; _files() { print FILES }; _command_names() { print COMMANDS }; _describe() { print -l -- ${(P@)2%%:*} }\n';

const isThere = (shell: Shell): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

describe.each(SHELLS)('in %s', (shell) => {
  const arguments_ = { bash: ['--norc', '-c'], zsh: ['-f', '-c'], fish: ['--no-config', '-c'] }[shell];
  const ask = (...words: string[]): string[] => {
    const text = `${shell === 'zsh' ? ZSH_STUBS : ''}${completionScript(shell)}\n${PROBES[shell](['postern', ...words])}`;
    const { stdout, stderr } = spawnSync(shell, [...arguments_, text], { encoding: 'utf8', cwd: '/' });
    expect(stderr).toBe('');
    return stdout.split('\n').filter((line) => line !== '');
  };

  it.skipIf(!isThere(shell))(`the script completes (needs ${shell})`, () => {
    expect(ask('policy', 'ins').sort()).toEqual(['inspect', 'install']);
    expect(ask('run', '--driver-vm', 'l')).toEqual(['local']);
    expect(ask('policy', 'rollback', 'v4')).toEqual(['v4l2']);
    const files = ask('policy', 'install', 'et');
    expect(files.join()).toMatch(shell === 'zsh' ? /^FILES$/ : /^etc\/?$/);
    const commands = ask('run', '--', 'mkfif');
    expect(commands).toContain(shell === 'zsh' ? 'COMMANDS' : 'mkfifo');
  });
});
