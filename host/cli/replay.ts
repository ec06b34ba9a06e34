import { Command } from 'commander';

/** What `postern replay` was asked for. */
export interface ReplayOptions {
  policy: string;
  json?: boolean;
}

/** `postern replay`: recorded operations, judged by another module. */
export function replayCommand(): Command {
  return new Command('replay')
    .summary('judge recorded operations by another module')
    .description(
      'Judge the operations of a decision log by another policy module of the class, and list what would change. A log written with ' +
        '--audit-arguments has the bytes that the module saw, so that each decision can be made again. Without them, commands that have ' +
        'no argument bytes are judged, and of the others it is only looked up whether the module serves them at all.',
    )
    .argument('<log...>', 'the log’s files')
    .requiredOption(
      '--policy <module>',
      'a class, a package (NAME.postern), or a component (NAME.component.wasm) with its manifest beside it',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit status: 0 when nothing would change, 1 when something would be denied or be otherwise, 2 when more would be allowed, ' +
        '125 when Postern itself fails.',
    )
    .action(async (logs: string[], options: ReplayOptions) => {
      const { showReplay } = await import('./show-replay.js');
      await showReplay(logs, options);
    });
}
