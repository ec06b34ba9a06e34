import { Command } from 'commander';
import { socketOption } from './run.js';

/** What `postern guests` was asked for. */
export interface GuestsOptions {
  socket?: string;
  json?: boolean;
}

/** `postern guests`: who is there. */
export function guestsCommand(): Command {
  return new Command('guests')
    .summary('list the guests of the running host')
    .description(
      'List the guests of the running host: their processes, the modules that judge them, and what they did.',
    )
    .addOption(socketOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: GuestsOptions) => {
      const { listGuests } = await import('./list-guests.js');
      await listGuests(options);
    });
}
