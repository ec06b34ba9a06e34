/** What the commands about policies and their logs end with: one scheme for all of them. */

/** Done, and there is nothing to object to. */
export const DONE_STATUS = 0;
/** The answer is no: a vector fails, a rule is broken, a log is not what was written, modules differ, a class does not know a command. */
export const OBJECTION_STATUS = 1;
/** What was compared permits more than what it was compared with. */
export const WIDER_STATUS = 2;
/** A package, a key, a trust policy or a store is refused, with a code; nothing was changed. */
export const REFUSED_STATUS = 3;
/** The store was changed, but the running host goes on with what it had, or nobody knows. */
export const NOT_TAKEN_STATUS = 4;
/** Postern's own failures and wrong usage, as `env` and `docker run` have it: a guest's own status is its own. */
export const FAILURE_STATUS = 125;

const REFUSED = `${REFUSED_STATUS}: a package, a trust policy or the store is refused, with the code and the reason`;
const FAILED = `${FAILURE_STATUS}: Postern itself fails, or was not used as this help says`;

/** The end of a command's help: what it ends with, each status on a line. `first` says what it ends with besides being refused or failing. */
export function statusHelp(...first: readonly string[]): string {
  return `\nExit status:\n${[...first, REFUSED, FAILED].map((line) => `  ${line}`).join('\n')}\n`;
}

/** As statusHelp, of commands that look at nothing which could be refused. */
export function plainStatusHelp(...first: readonly string[]): string {
  return `\nExit status:\n${[...first, FAILED].map((line) => `  ${line}`).join('\n')}\n`;
}
