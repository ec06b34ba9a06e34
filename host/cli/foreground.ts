import { Command } from 'commander';
import { socketOption } from './run.js';

/** What `postern foreground` was asked for. */
export interface ForegroundOptions {
  socket?: string;
}

/** `postern foreground`: which guest is in front. */
export function foregroundCommand(): Command {
  return new Command('foreground')
    .summary('bring a guest of the running host to the front')
    .description(
      'Bring a guest to the front. Of classes that are shared by foreground (postern serve --sharing evdev=foreground), only the guest ' +
        'in front gets input and shows pictures; what others ask for waits until they are in front.',
    )
    .argument('<guest>', 'its name, as postern guests tells it')
    .addOption(socketOption())
    .action(async (guest: string, { socket }: ForegroundOptions) => {
      const { askHost } = await import('../serve/client.js');
      const { defaultSocketPath } = await import('../serve/door.js');
      await askHost(socket ?? defaultSocketPath(), { request: 'foreground', guest }, 'foreground');
    });
}
