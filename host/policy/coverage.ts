import { PolicyInstance } from './abi.js';
import { LAYOUT_SOURCES, NOTED_SOURCES, type NotedSource } from './layout-sources.js';
import { commandsOf } from './layouts.js';
import { meteredModule } from './meter.js';
import type { PolicyPackage } from './store.js';

/** asm-generic/errno-base.h: there is no guest whose memory a policy could read. */
const EFAULT = 14;

/** A command that the class refuses on purpose. */
export interface Refusal {
  name: string;
  reason: string;
}

/** What a class's table says of the commands that the kernel's headers define. */
export interface Coverage {
  class: string;
  /** The headers that have the class's commands. */
  header: string;
  /** Commands that a guest may use, as far as their arguments allow. */
  supported: string[];
  refused: Refusal[];
  /** Commands of the header that the table does not have. */
  missing: string[];
}

/**
 * Compares a module's table with the command macros of the installed UAPI headers.
 * @throws Error when no header is known for the class, or it is not installed
 */
export async function coverageOf({ core, manifest }: PolicyPackage): Promise<Coverage> {
  const known = knownCommands(manifest.class);
  const policy = new PolicyInstance(await meteredModule(core), manifest, () => EFAULT);
  const { commands, reasons } = policy.describe();
  const coverage: Coverage = {
    class: manifest.class,
    header: known.header,
    supported: [],
    refused: [],
    missing: [],
  };
  for (const [name, number] of Object.entries(known.commands)) {
    const row = commands.find((entry) => (number & entry.mask) >>> 0 === entry.number);
    if (row === undefined) coverage.missing.push(name);
    else if (row.refused === 0) coverage.supported.push(name);
    else coverage.refused.push({ name, reason: reasons[row.refused] ?? '' });
  }
  return coverage;
}

/** The commands that there are: of the installed headers, or those noted where no package installs the header. */
function knownCommands(className: string): Pick<NotedSource, 'header' | 'commands'> {
  const noted = NOTED_SOURCES.find((entry) => entry.class === className);
  if (noted !== undefined) return noted;
  const sources = LAYOUT_SOURCES.filter((source) => source.class === className);
  if (sources.length === 0)
    throw new Error(
      `No header is known for the class ${className}: name it in host/policy/layout-sources.ts.`,
    );
  return {
    header: sources.map(({ headers }) => headers[0]).join(', '),
    commands: Object.fromEntries(sources.flatMap((source) => [...commandsOf(source)])),
  };
}
