import { vi } from 'vitest';
import { runProgram } from '../../host/cli/program.js';

/** What a command ended with, and what it printed. */
export interface Result {
  status: number;
  out: string;
  err: string;
}

/** Runs a command in this process, which is much quicker than starting another one. Not for commands that need their own. */
export async function runHere(...parameters: string[]): Promise<Result> {
  const [out, err] = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
  for (const stream of [out, err]) stream.mockReturnValue(true);
  process.exitCode = 0;
  try {
    await runProgram(parameters);
    const text = ({ mock }: typeof out): string => mock.calls.map(([chunk]) => String(chunk)).join('');
    return { status: Number(process.exitCode ?? 0), out: text(out), err: text(err) };
  } finally {
    process.exitCode = 0;
    out.mockRestore();
    err.mockRestore();
  }
}
