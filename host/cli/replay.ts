import { Command } from 'commander';
import { jsonOption } from './policy-options.js';
import { MODULE } from './policy-try.js';
import { refusing } from './refusal.js';
import { statusHelp } from './status.js';

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
    .requiredOption('--policy <module>', MODULE)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExample:\n  postern replay decisions.log --policy v4l2-0.2.0.postern\n${statusHelp(
        '0: nothing would change',
        '1: something would be denied, or be otherwise',
        '2: more would be allowed',
      )}`,
    )
    .action(async (logs: string[], options: ReplayOptions) => {
      const { showReplay } = await import('./show-replay.js');
      await refusing(options.json, () => showReplay(logs, options));
    });
}
