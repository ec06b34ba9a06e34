import { Argument, Command } from 'commander';
import { plainStatusHelp } from './status.js';

/** The shells for which there is a script. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/**
 * `postern completion`: a script by which a shell completes commands, options and classes.
 * @param root the whole command line, which is what is completed
 */
export function completionCommand(root: () => Command): [script: Command, asked: Command] {
  return [
    new Command('completion')
      .summary('print a script by which a shell completes commands')
      .description(
        'Print a script that has a shell complete commands, options, their values and device classes. It asks this installation each time, ' +
          'so that it is never out of date.',
      )
      .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
      .addHelpText(
        'after',
        '\nExamples:\n' +
          '  source <(postern completion bash)                     # in ~/.bashrc\n' +
          '  source <(postern completion zsh)                      # in ~/.zshrc, after compinit\n' +
          '  postern completion fish > ~/.config/fish/completions/postern.fish\n' +
          plainStatusHelp('0: done'),
      )
      .action(async (shell: Shell) => {
        const { completionScript } = await import('./completion-scripts.js');
        process.stdout.write(completionScript(shell));
      }),
    // What the scripts ask. Everything after `--` is what has been typed, the word at the cursor last.
    new Command('complete')
      .argument('[words...]')
      .passThroughOptions()
      .action(async (words: string[]) => {
        const { completions } = await import('./completions.js');
        process.stdout.write(completions(root(), words));
      }),
  ];
}
