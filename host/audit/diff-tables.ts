import { accessBits, type ClassInfo, type Command } from '../policy/abi.js';
import { accessText, hexadecimal } from '../policy/described.js';
import type { Envelope, Manifest } from '../policy/manifest.js';

/** wider: the second permits what the first does not. other: neither more nor less, but not the same. */
export type Direction = 'wider' | 'narrower' | 'other';

/** One way in which two modules differ. */
export interface Difference {
  /** What differs: `envelope.grantsMax`, or a command's name. */
  what: string;
  /** Which side of it: 'limit', 'command', 'access', 'size', 'verdict', 'grants', 'checks', … */
  aspect: string;
  direction: Direction;
  before: string;
  after: string;
  /** A call that the two judge differently, in the notation of test vectors. */
  witness?: object;
}

/** Limits of which more permits more. */
const LIMITS = [
  'argumentBytesMax',
  'transferBytesMax',
  'grantsMax',
  'grantBytesMax',
  'relocationsMax',
  'requirementsMax',
  'descriptorsMax',
  'sessionsMax',
  'operationsInFlightMax',
  'mappedPagesMax',
  'handlesMax',
  'decisionFuelMax',
  'memoryPagesMax',
  'faultsMax',
] as const satisfies (keyof Envelope)[];

/** How two manifests differ: who may open what, and within which limits. */
export function manifestDifferences(before: Manifest, after: Manifest): Difference[] {
  const limits = LIMITS.flatMap((name) =>
    limitDifference(`envelope.${name}`, before.envelope[name] ?? 0, after.envelope[name] ?? 0),
  );
  return [
    ...limits,
    ...setDifferences('envelope.operations', before.envelope.operations, after.envelope.operations),
    ...setDifferences('envelope.ioctlTypes', before.envelope.ioctlTypes, after.envelope.ioctlTypes),
    ...setDifferences('envelope.commands', commandsOf(before), commandsOf(after)),
    ...setDifferences('nodes', before.nodes.map(nodeText), after.nodes.map(nodeText)),
    // What is refused is what nobody gets: fewer of them are more for guests.
    ...setDifferences('refuses', patternsOf(before), patternsOf(after)).map(turned),
    ...flagDifference('sharing', before.sharing, after.sharing, 'concurrent'),
    // Writes that nobody judges may be anything.
    ...flagDifference(
      'envelope.writesJudged',
      String(before.envelope.writesJudged === true),
      String(after.envelope.writesJudged === true),
      'false',
    ),
  ];
}

/** The commands that the host lets through at all, whatever the module's table says. */
function commandsOf({ envelope: { commands = [] } }: Manifest): string[] {
  return commands.map(({ name, number }) => `${name} (${number})`);
}

function nodeText({ pattern, descriptor, onRequest }: Manifest['nodes'][number]): string {
  return `${pattern ?? descriptor}${onRequest === true ? ' on request' : ''}`;
}

function patternsOf({ refuses = [] }: Manifest): string[] {
  return refuses.map(({ pattern }) => pattern);
}

function limitDifference(what: string, before: number, after: number): Difference[] {
  if (before === after) return [];
  const direction = after > before ? 'wider' : 'narrower';
  return [{ what, aspect: 'limit', direction, before: String(before), after: String(after) }];
}

function setDifferences(what: string, before: readonly string[], after: readonly string[]): Difference[] {
  const added = after.filter((one) => !before.includes(one));
  const removed = before.filter((one) => !after.includes(one));
  return [
    ...added.map(
      (one): Difference => ({ what, aspect: 'set', direction: 'wider', before: 'absent', after: one }),
    ),
    ...removed.map(
      (one): Difference => ({ what, aspect: 'set', direction: 'narrower', before: one, after: 'absent' }),
    ),
  ];
}

function turned(difference: Difference): Difference {
  return { ...difference, direction: difference.direction === 'wider' ? 'narrower' : 'wider' };
}

function flagDifference(what: string, before: string, after: string, widest: string): Difference[] {
  if (before === after) return [];
  return [{ what, aspect: 'flag', direction: after === widest ? 'wider' : 'narrower', before, after }];
}

/** How two tables differ: which commands there are, and what their rows say. */
export function tableDifferences(before: ClassInfo, after: ClassInfo): Difference[] {
  const differences: Difference[] = [];
  const key = ({ number, mask }: Command): string => `${number}/${mask}`;
  const newer = new Map(after.commands.map((row) => [key(row), row]));
  const older = new Map(before.commands.map((row) => [key(row), row]));
  for (const row of before.commands) {
    const other = newer.get(key(row));
    if (other === undefined) differences.push(presence(row, 'narrower'));
    else differences.push(...rowDifferences(row, other, before, after));
  }
  for (const row of after.commands) if (!older.has(key(row))) differences.push(presence(row, 'wider'));
  return differences;
}

function presence(row: Command, direction: 'wider' | 'narrower'): Difference {
  const told = row.refused === 0 ? `in the table (${hexadecimal(row.number, 8)})` : 'refused by name';
  const [before, after] = direction === 'wider' ? ['not in the table', told] : [told, 'not in the table'];
  // A command that is refused by name is as much denied as one that nobody knows.
  return {
    what: row.name,
    aspect: 'command',
    direction: row.refused === 0 ? direction : 'other',
    before,
    after,
  };
}

function rowDifferences(before: Command, after: Command, older: ClassInfo, newer: ClassInfo): Difference[] {
  const what = after.name;
  const differences: Difference[] = [];
  const isRefused = [before.refused !== 0, after.refused !== 0];
  if (isRefused[0] !== isRefused[1])
    differences.push({
      what,
      aspect: 'command',
      direction: isRefused[0] ? 'wider' : 'narrower',
      before: isRefused[0] ? `refused: ${older.reasons[before.refused]}` : 'served',
      after: isRefused[1] ? `refused: ${newer.reasons[after.refused]}` : 'served',
    });
  if (before.head !== after.head)
    differences.push(
      ...limitDifference(what, before.head, after.head).map((one) => ({ ...one, aspect: 'size' })),
    );
  const [was, is] = [accessBits(before.access), accessBits(after.access)];
  if (was !== is)
    differences.push({
      what,
      aspect: 'access',
      direction: is & ~was ? 'wider' : 'narrower',
      before: accessText(before.access),
      after: accessText(after.access),
    });
  if (before.nested !== after.nested)
    differences.push({
      what,
      aspect: 'nested pointers',
      direction: after.nested ? 'wider' : 'narrower',
      before: String(before.nested),
      after: String(after.nested),
    });
  if (before.name !== after.name)
    differences.push({ what, aspect: 'name', direction: 'other', before: before.name, after: after.name });
  return differences;
}
