import { execFile } from 'node:child_process';

/** Enough for the longest listing of the tools used here (a kernel's module dependencies). */
const OUTPUT_BYTES_MAX = 16 << 20;

/**
 * Runs a tool and returns what it printed on standard output.
 * @param cwd the folder to run it in
 * @throws Error with the command line, the tool's own words and `advice`
 */
export function runTool(
  tool: string,
  toolArguments: readonly string[],
  advice: string,
  cwd?: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tool, toolArguments, { cwd, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const line = [tool, ...toolArguments].join(' ');
      const words = stderr.trim() || error.message;
      reject(new Error(`'${line}' failed: ${words}. ${advice}`));
    });
  });
}
