import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How much of a failed command's output its error carries, in lines: enough for a compiler's first complaints. */
const ERROR_TAIL_LINES = 40;

export interface CommandOptions {
  cwd?: string;
  environment?: NodeJS.ProcessEnv;
  /** Told every line that the command prints on either stream. */
  onLine?: (line: string) => void;
}

/**
 * Runs a command without standard input and waits for it.
 * @throws Error with the command line, how it ended and the last lines of its output
 */
export async function runCommand(
  command: string,
  commandArguments: readonly string[],
  options: CommandOptions = {},
): Promise<void> {
  const child = spawn(command, commandArguments, {
    cwd: options.cwd,
    env: options.environment ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const tail: string[] = [];
  const keep = (line: string): void => {
    tail.push(line);
    if (tail.length > ERROR_TAIL_LINES) tail.shift();
    options.onLine?.(line);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', keep);
  const ending = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('close', (status, signal) =>
      resolve(status === 0 ? '' : `failed (${signal ?? `status ${status}`})`),
    );
  });
  if (ending === '') return;
  const line = [command, ...commandArguments].join(' ');
  throw new Error([`'${line}' ${ending}`, ...tail].join('\n  '));
}
