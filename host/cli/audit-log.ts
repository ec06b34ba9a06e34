import { type Command, InvalidArgumentError } from 'commander';

/** What was asked of the decision log. */
export interface AuditOptions {
  auditLog?: string;
  auditArguments?: boolean;
  auditRedact?: string[];
  auditSample?: number;
}

/** Adds the options of commands whose guests' decisions can be logged. */
export function withAuditLog(command: Command): Command {
  return command
    .option(
      '--audit-log <file>',
      'append a line for each decision to a file, in a chain that `postern audit verify` follows; denials are never left out',
    )
    .option(
      '--audit-arguments',
      'write the argument bytes that the policy saw too, but for what is written to devices; `postern replay` needs them',
    )
    .option(
      '--audit-redact <command>',
      'a command, by its kernel name, whose argument bytes are not written all the same (repeatable)',
      (name: string, before: string[] = []) => [...before, name],
    )
    .option('--audit-sample <number>', 'write one of so many allowed operations (1)', (text: string) => {
      const value = Number(text);
      if (!Number.isSafeInteger(value) || value < 1)
        throw new InvalidArgumentError('expected a whole number of at least 1.');
      return value;
    });
}
