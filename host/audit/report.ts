import { type ClassInfo, PolicyInstance } from '../policy/abi.js';
import { type Coverage, coverageOf } from '../policy/coverage.js';
import { accessText, hexadecimal } from '../policy/described.js';
import { fieldName } from '../policy/field-names.js';
import type { Manifest } from '../policy/manifest.js';
import { meteredModule } from '../policy/meter.js';
import type { PolicyPackage } from '../policy/store.js';
import { commandNumber, type Vector, type VectorFile } from '../policy/vectors.js';
import { checkPolicy } from './check.js';
import type { LoggedDecision } from './replay.js';
import type { RuleResult } from './rules.js';

/** Generated calls of a report's battery: `postern audit check` makes more. */
const CHECK_CALLS = 1000;

/** Why a vector's call is denied. */
export interface ReportedDenial {
  errno: string;
  reason: string;
  /** The field that it is about: its path where the generated layouts have it, else its offset. */
  field: string | null;
  /** The vector that shows it. */
  vector: string;
}

/** What one command, or file operation, may touch. */
export interface ReportedCommand {
  name: string;
  /** Empty for a file operation. */
  number: string;
  access: string;
  headBytes: number;
  nested: boolean;
  /** Why it is refused on purpose; null: it is served. */
  refused: string | null;
  /** Regions beside the head, in a call that shows the most of them. */
  regions: { length: number; access: string }[];
  /** Handle tables that it requires, with what a guest gets otherwise. */
  requires: { table: string; errno: string; reason: string; vector: string }[];
  /** Handle tables that a success fills, and what of the answer the guest does not see. */
  learns: string[];
  descriptors: string[];
  masks: number;
  denials: ReportedDenial[];
  vectors: number;
  /** In the log that was given. */
  seen: { allowed: number; denied: number } | null;
}

/** A signature of a package. */
export interface ReportedSignature {
  /** Of the key that it claims. */
  fingerprint: string;
  /** The trust policy's name of that key; null: it has none. */
  name: string | null;
  /** Why it does not count; null: it does. */
  refusal: string | null;
}

/** What a report says of one class. */
export interface ReportedClass {
  class: string;
  name: string;
  version: string;
  sequence: number;
  digest: string;
  uapi: string;
  /** The signatures of its package; null: it came in no package. */
  signers: ReportedSignature[] | null;
  nodes: string[];
  refuses: { pattern: string; reason: string }[];
  sharing: string;
  envelope: Manifest['envelope'];
  commands: ReportedCommand[];
  tables: { name: string; learntBy: string[]; requiredBy: string[]; vectors: string[] }[];
  rules: RuleResult[];
  coverage: { header: string; supported: number; refused: number; missing: string[] } | { unknown: string };
  seen: { allowed: number; denied: number; dropped: number; guests: string[] } | null;
}

/** An isolation report. */
export interface IsolationReport {
  time: string;
  classes: ReportedClass[];
  /** The log's files, where one was given; its chain has been verified. */
  log: string[];
}

/** What a report is about. */
export interface ReportSubject {
  policy: PolicyPackage;
  vectors: VectorFile | undefined;
  signers: ReportedSignature[] | null;
}

/**
 * Gathers what a reviewer wants to know of modules: what each command may touch, what is refused and why, which handles are
 * isolated and by which test, the coverage of the kernel's headers, and what was seen in a log.
 * @param lines the log's lines; undefined: no log was given
 */
export async function isolationReport(
  subjects: readonly ReportSubject[],
  lines: readonly LoggedDecision[] | undefined,
  log: string[],
): Promise<IsolationReport> {
  const classes: ReportedClass[] = [];
  for (const subject of subjects) classes.push(await reportedClass(subject, lines));
  return { time: new Date().toISOString(), classes, log };
}

async function reportedClass(
  { policy, vectors, signers }: ReportSubject,
  lines: readonly LoggedDecision[] | undefined,
): Promise<ReportedClass> {
  const { manifest, digest } = policy;
  const info = new PolicyInstance(await meteredModule(policy.core), manifest, () => 14).describe();
  const tried = vectors?.vectors ?? [];
  const mine = lines?.filter((line) => line.class === manifest.class);
  const check = await checkPolicy(policy, {
    calls: CHECK_CALLS,
    ...(vectors === undefined ? {} : { vectors }),
  });
  const commands = reportedCommands(info, manifest, tried, mine);
  return {
    ...{ class: manifest.class, name: manifest.name, version: manifest.version, sequence: manifest.sequence },
    ...{ digest, uapi: manifest.uapi, signers, sharing: manifest.sharing, envelope: manifest.envelope },
    nodes: manifest.nodes.map(nodeText),
    refuses: manifest.refuses ?? [],
    commands,
    tables: info.tables.map((name) => ({
      name,
      learntBy: commands.filter(({ learns }) => learns.includes(name)).map((command) => command.name),
      requiredBy: commands
        .filter(({ requires }) => requires.some(({ table }) => table === name))
        .map((command) => command.name),
      vectors: commands.flatMap(({ requires }) =>
        requires.filter(({ table }) => table === name).map(({ vector }) => vector),
      ),
    })),
    rules: check.rules,
    coverage: await reportedCoverage(policy),
    seen: mine === undefined ? null : totals(mine, lines ?? []),
  };
}

function nodeText({ pattern, descriptor, onRequest }: Manifest['nodes'][number]): string {
  const what = pattern === undefined ? `descriptors of the kind ${descriptor}` : `/dev/${pattern}`;
  return onRequest === true ? `${what} (on request only)` : what;
}

async function reportedCoverage(policy: PolicyPackage): Promise<ReportedClass['coverage']> {
  try {
    const { header, supported, refused, missing }: Coverage = await coverageOf(policy);
    return { header, supported: supported.length, refused: refused.length, missing };
  } catch (error) {
    return { unknown: (error as Error).message };
  }
}

function totals(
  mine: readonly LoggedDecision[],
  all: readonly LoggedDecision[],
): NonNullable<ReportedClass['seen']> {
  const guests = [...new Set(mine.map(({ guest }) => guest))];
  const dropped = (all as readonly { kind: string; guest: string; dropped?: number }[])
    .filter(({ kind, guest }) => kind === 'dropped' && guests.includes(guest))
    .reduce((sum, line) => sum + (line.dropped ?? 0), 0);
  return { ...counts(mine), dropped, guests };
}

function counts(lines: readonly LoggedDecision[]): { allowed: number; denied: number } {
  const allowed = lines.filter(({ verdict }) => verdict === 'allow').length;
  // What another module judged in the place of one that misbehaved has a line of its own.
  const healed = lines.filter(({ kind, outcome }) => kind === 'fault' && outcome === null).length;
  return { allowed, denied: lines.length - allowed - healed };
}

function reportedCommands(
  info: ClassInfo,
  { envelope }: Manifest,
  vectors: readonly Vector[],
  lines: readonly LoggedDecision[] | undefined,
): ReportedCommand[] {
  const operations = envelope.operations
    .filter((operation) => operation !== 'ioctl')
    .map((operation): ReportedCommand => {
      const own = vectors.filter((vector) => vector.operation === operation);
      const seen = lines?.filter((line) => line.operation === operation);
      const access = operation === 'read' ? 'from-driver' : operation === 'write' ? 'to-driver' : 'none';
      return {
        ...{ name: operation, number: '', access, headBytes: 0, nested: false, refused: null },
        ...fromVectors(own),
        seen: seen === undefined ? null : counts(seen),
      };
    });
  const commands = info.commands.map((row): ReportedCommand => {
    const belongs = (number: number): boolean => (number & row.mask) >>> 0 === row.number;
    const own = vectors.filter(
      (vector) => vector.operation === 'ioctl' && belongs(commandNumber(vector, info) ?? Number.NaN),
    );
    const seen = lines?.filter(
      ({ operation, commandNumber: number }) =>
        (operation === undefined || operation === 'ioctl') && number !== undefined && belongs(Number(number)),
    );
    return {
      ...{
        name: row.name,
        number: hexadecimal(row.number, 8),
        access: accessText(row.access),
        headBytes: row.head,
      },
      nested: row.nested,
      refused: row.refused === 0 ? null : (info.reasons[row.refused] ?? ''),
      ...fromVectors(own),
      seen: seen === undefined ? null : counts(seen),
    };
  });
  return [...operations, ...commands];
}

type FromVectors = Pick<
  ReportedCommand,
  'regions' | 'requires' | 'learns' | 'descriptors' | 'masks' | 'denials' | 'vectors'
>;

/** What a command's vectors show: they are run against the module in the same report. */
function fromVectors(vectors: readonly Vector[]): FromVectors {
  const told: FromVectors = {
    regions: [],
    requires: [],
    learns: [],
    descriptors: [],
    masks: 0,
    denials: [],
    vectors: vectors.length,
  };
  for (const { name, expect, command = '' } of vectors) {
    if ('deny' in expect) {
      const { errno, reason, field } = expect.deny;
      if (!told.denials.some((one) => one.errno === errno && one.reason === reason))
        told.denials.push({ errno, reason, field: fieldText(command, field), vector: name });
    } else if ('allow' in expect) {
      const { grants = [], requirements = [], descriptors = [] } = expect.allow;
      if (grants.length > told.regions.length)
        told.regions = grants.map(({ length, access }) => ({ length, access }));
      for (const { table, errno, reason } of requirements)
        if (!told.requires.some((one) => one.table === table))
          told.requires.push({ table, errno, reason, vector: name });
      for (const { kind, flow } of descriptors)
        if (!told.descriptors.includes(`${kind} ${flow}`)) told.descriptors.push(`${kind} ${flow}`);
    } else {
      for (const { table } of expect.settle.learn ?? [])
        if (!told.learns.includes(table)) told.learns.push(table);
      told.masks = Math.max(told.masks, expect.settle.masks?.length ?? 0);
    }
  }
  return told;
}

function fieldText(command: string, field: number | undefined): string | null {
  if (field === undefined) return null;
  return fieldName(command, field) ?? `offset ${field}`;
}
