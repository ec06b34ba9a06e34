import {
  type Call,
  type ClassInfo,
  type Plan,
  PolicyFault,
  PolicyInstance,
  type Settlement,
  type Verdict,
} from '../policy/abi.js';
import { coreFaults } from '../policy/check-core.js';
import { operationName, rowOf } from '../policy/described.js';
import { meteredModule } from '../policy/meter.js';
import {
  differencesOf,
  runVectors,
  type TriedPolicy,
  type VectorFile,
  vectorOfCall,
} from '../policy/vectors.js';
import { type GeneratedCall, guestReader, sampleCalls } from './generated-calls.js';
import { argumentFaults, boundsFaults, denialFaults, type Seen } from './plan-faults.js';
import { RuleBook, type RuleId, type RuleResult } from './rules.js';

/** Calls of one battery by default: every command of the largest class some twenty times, in about a second. */
export const CALLS_DEFAULT = 2000;
/** Where a command has its size (_IOC_SIZESHIFT, _IOC_SIZEBITS). */
const SIZE_SHIFT = 16;
const SIZE_MAX = 0x3fff;
const SIZE_BITS = SIZE_MAX << SIZE_SHIFT;
/** asm-generic/errno-base.h: an answer of a driver that learns nothing. */
const EINVAL = 22n;

/** What to try a module with. */
export interface CheckOptions {
  /** Generated calls. */
  calls?: number;
  /** Makes the generated calls; the same seed makes the same. */
  seed?: number;
  /** The module's vectors: they are tried, and so are calls near them. */
  vectors?: VectorFile;
  /** A module of the class that is known to be right: what handles it requires, this one must require. */
  reference?: TriedPolicy;
}

/** What came of a battery. */
export interface CheckReport {
  name: string;
  class: string;
  version: string;
  calls: number;
  seed: number;
  /** Whether no rule is broken. */
  kept: boolean;
  rules: RuleResult[];
}

/**
 * Runs the battery of isolation rules (RULES in rules.ts) against a module, ours or a stranger's: it is only run as the
 * mediator would run it, under its manifest's fuel, and on the memory of a pretended guest.
 */
export async function checkPolicy(policy: TriedPolicy, options: CheckOptions = {}): Promise<CheckReport> {
  const { calls = CALLS_DEFAULT, seed = 1, vectors, reference } = options;
  const book = new RuleBook();
  const { manifest } = policy;
  const faults = coreFaults(policy.core, manifest.envelope.memoryPagesMax);
  book.note('world', faults);
  if (faults.length === 0) {
    const battery = await Battery.of(policy, reference, book);
    if (battery !== undefined) {
      for (const generated of sampleCalls(battery.info, vectors?.vectors ?? [], calls, seed))
        battery.judge(generated);
      battery.conclude();
      if (vectors !== undefined) await tryVectors(policy, vectors, book);
    }
  }
  const rules = book.all();
  return {
    name: manifest.name,
    class: manifest.class,
    version: manifest.version,
    calls,
    seed,
    kept: rules.every(({ result }) => result !== 'broken'),
    rules,
  };
}

async function tryVectors(policy: TriedPolicy, vectors: VectorFile, book: RuleBook): Promise<void> {
  const { failures } = await runVectors(policy, vectors);
  const told = failures.map(
    ({ vector, field, expected, actual }) =>
      `'${vector}': ${field} is ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`,
  );
  if (told.length === 0) book.note('vectors', []);
  for (const [index, what] of told.entries())
    book.note('vectors', [what], { command: failures[index]?.command ?? '' });
}

/** One module's answers to generated calls, held against the rules. */
class Battery {
  /** Judges everything, one call after the other, as a mediator's instance does. */
  private veteran: PolicyInstance;
  private current: GeneratedCall | undefined;
  private reads: { address: bigint; bytes: Uint8Array }[] = [];
  private readonly learnt = new Set<number>();
  private readonly required = new Set<number>();
  private readonly memoryAtFirst: number;

  private constructor(
    private readonly module: WebAssembly.Module,
    private readonly policy: TriedPolicy,
    readonly info: ClassInfo,
    private readonly reference: PolicyInstance | undefined,
    private readonly referenceInfo: ClassInfo | undefined,
    private readonly book: RuleBook,
  ) {
    this.veteran = this.fresh();
    this.memoryAtFirst = this.veteran.memoryBytes;
  }

  /** Undefined: the module can't even describe itself, which has been noted. */
  static async of(
    policy: TriedPolicy,
    reference: TriedPolicy | undefined,
    book: RuleBook,
  ): Promise<Battery | undefined> {
    const module = await meteredModule(policy.core);
    const known =
      reference === undefined
        ? undefined
        : new PolicyInstance(await meteredModule(reference.core), reference.manifest, (...read) =>
            guestReader(battery?.current?.memory ?? [])(...read),
          );
    let battery: Battery | undefined;
    try {
      const info = new PolicyInstance(module, policy.manifest, () => 14).describe();
      battery = new Battery(module, policy, info, known, known?.describe(), book);
      book.note('description', descriptionFaults(info, battery.fresh().describe(), policy));
    } catch (error) {
      if (!(error instanceof PolicyFault)) throw error;
      book.note(ruleOf(error), [`describe: ${error.message}`]);
    }
    return battery;
  }

  /** Tries one call against every rule that is about calls. */
  judge(generated: GeneratedCall): void {
    this.current = generated;
    const verdict = this.admitted(this.veteran, generated);
    this.note('memory', this.growth());
    if (verdict instanceof PolicyFault) {
      this.veteran = this.fresh();
      return;
    }
    const seen = { call: generated.call, head: generated.head, reads: this.reads };
    this.note('termination', []);
    this.note('stateless', this.isRepeated(generated, verdict));
    this.note('deny-by-default', this.mustBeDenied(generated, verdict));
    if (this.readTwice()) this.note('single-fetch', this.dependsOnSecondFetch(generated, verdict));
    else this.note('single-fetch', []);
    if (verdict.tag === 'deny') this.note('answers', denialFaults(verdict.val, this.info, generated.head));
    else this.judgePlan(verdict.val, seen);
  }

  /** What only all calls together tell. */
  conclude(): void {
    const unasked = [...this.learnt].filter((table) => !this.required.has(table));
    this.book.note(
      'handles',
      unasked.map(
        (table) =>
          `handles are learnt into the table '${this.info.tables[table]}', and nothing requires them`,
      ),
    );
  }

  private judgePlan(plan: Plan, seen: Seen): void {
    const { call, head } = seen;
    const row = call.operation === 'ioctl' ? rowOf(this.info, call.command) : undefined;
    this.note('bounds', boundsFaults(plan, row, this.policy.manifest.envelope, seen));
    this.note('arguments', argumentFaults(plan, seen));
    this.note('answers', this.tableFaults(plan));
    for (const { table } of plan.requirements) this.required.add(table);
    this.note('handles', this.requirementsLeftOut(plan, call, head));
    this.settle(plan, seen, 0n);
    this.settle(plan, seen, -EINVAL);
  }

  /** The driver has answered: success with bytes of its own, or an error. */
  private settle(plan: Plan, { call, head }: Seen, outcome: bigint): void {
    const reply = { head: this.replyTo(call, head), call };
    const answer = this.completed(this.veteran, reply, outcome);
    if (answer instanceof PolicyFault) {
      this.veteran = this.fresh();
      return;
    }
    const again = this.completed(this.fresh(), reply, outcome);
    this.note('stateless', again instanceof PolicyFault ? [] : sameOrTold(answer, again));
    this.note('handles', this.lessonFaults(answer, plan, reply.head, outcome));
    const { tables } = this.info;
    const strange = answer.learn.map(({ table }) => table).filter((table) => table >= tables.length);
    this.note(
      'answers',
      strange.map((table) => `the settlement names the table ${table}, which the class has not`),
    );
  }

  /** What the driver left of the head: as long as the command's, which the host sees to. */
  private replyTo(call: Call, head: Uint8Array): Uint8Array {
    const row = call.operation === 'ioctl' ? rowOf(this.info, call.command) : undefined;
    const wanted = row === undefined ? 0 : headBytes(row, call.command);
    if (head.length >= wanted) return head;
    const reply = new Uint8Array(wanted);
    reply.set(head);
    return reply;
  }

  private lessonFaults({ learn }: Settlement, plan: Plan, head: Uint8Array, outcome: bigint): string[] {
    const faults: string[] = [];
    for (const { table, region, offset, width } of learn) {
      const bytes = region === 0 ? head.length : plan.grants[region - 1]?.length;
      const access = region === 0 ? plan.head : plan.grants[region - 1]?.access;
      if (outcome < 0n) faults.push(`a handle is learnt although the driver failed`);
      if (bytes === undefined || width > bytes || offset > bytes - width)
        faults.push(`a handle is learnt outside region ${region}, at ${offset}`);
      else if (access?.fromDriver !== true)
        faults.push(
          `a handle is learnt from region ${region}, which the driver does not write: the guest makes it up`,
        );
      this.learnt.add(table);
    }
    return faults;
  }

  private tableFaults({ requirements, forget }: Plan): string[] {
    const { tables } = this.info;
    const strange = (named: { table: number }[]) => named.filter(({ table }) => table >= tables.length);
    return [
      ...strange(requirements).map(
        ({ table }) => `a requirement of the table ${table}, which the class has not`,
      ),
      ...strange(forget).map(({ table }) => `a table ${table} is forgotten, which the class has not`),
    ];
  }

  /** Handles that the reference requires for the same call, and this module doesn't. */
  private requirementsLeftOut(plan: Plan, call: Call, head: Uint8Array): string[] {
    if (this.reference === undefined || this.referenceInfo === undefined) return [];
    const verdict = this.reference.admit(call, head);
    if (verdict.tag === 'deny') return [];
    const mine = new Set(plan.requirements.map((one) => requirementKey(one, this.info)));
    const { referenceInfo } = this;
    return verdict.val.requirements
      .filter((one) => !mine.has(requirementKey(one, referenceInfo)))
      .map(
        ({ table, offset, source }) =>
          `nothing requires that the value at ${offset} of ${source >= 0xfffffffe ? 'the call' : `region ${source}`} is in the guest's table '${referenceInfo.tables[table]}'`,
      );
  }

  private isRepeated(generated: GeneratedCall, verdict: Verdict): string[] {
    const again = this.admitted(this.fresh(), generated);
    if (again instanceof PolicyFault)
      return [`a fresh instance faults where this one answers: ${again.message}`];
    return sameOrTold(verdict, again);
  }

  private mustBeDenied({ call, head }: GeneratedCall, verdict: Verdict): string[] {
    if (verdict.tag === 'deny' || call.operation !== 'ioctl') return [];
    const row = rowOf(this.info, call.command);
    if (row === undefined) return ['a command that is not in the table is allowed'];
    if (row.refused !== 0) return ['a command that the table refuses is allowed'];
    const wanted = headBytes(row, call.command);
    if (row.access.toDriver === true && head.length < wanted)
      return [`a head of ${head.length} bytes is allowed where the command has ${wanted}`];
    return [];
  }

  /** Whether some byte was read more than once by the call before. */
  private readTwice(): boolean {
    return this.reads.some(({ address, bytes }, index) =>
      this.reads
        .slice(0, index)
        .some(
          (other) =>
            address < other.address + BigInt(other.bytes.length) &&
            other.address < address + BigInt(bytes.length),
        ),
    );
  }

  /** The verdict of a guest that changes its memory after the first fetch of each byte. */
  private dependsOnSecondFetch({ call, head, memory }: GeneratedCall, verdict: Verdict): string[] {
    const fetched: { address: bigint; end: bigint }[] = [];
    const stable = guestReader(memory);
    const instance = new PolicyInstance(this.module, this.policy.manifest, (address, length, target, at) => {
      const errno = stable(address, length, target, at);
      if (errno !== 0) return errno;
      for (let index = 0; index < length; index++) {
        const place = address + BigInt(index);
        if (fetched.some((range) => place >= range.address && place < range.end))
          target[at + index] = ~(target[at + index] ?? 0);
      }
      fetched.push({ address, end: address + BigInt(length) });
      return 0;
    });
    try {
      return sameOrTold(verdict, instance.admit(call, head)).map(
        (what) => `the second fetch of a byte decides: ${what}`,
      );
    } catch (error) {
      if (error instanceof PolicyFault) return [`the second fetch of a byte decides: ${error.message}`];
      throw error;
    }
  }

  private growth(): string[] {
    const now = this.veteran.memoryBytes;
    return now > this.memoryAtFirst
      ? [`the memory has grown from ${this.memoryAtFirst} to ${now} bytes`]
      : [];
  }

  private admitted(instance: PolicyInstance, { call, head }: GeneratedCall): Verdict | PolicyFault {
    this.reads = [];
    return this.caught(() => instance.admit(call, head));
  }

  private completed(
    instance: PolicyInstance,
    { call, head }: { call: Call; head: Uint8Array },
    outcome: bigint,
  ): Settlement | PolicyFault {
    return this.caught(() => instance.complete(call, head, outcome));
  }

  private caught<T>(ask: () => T): T | PolicyFault {
    try {
      return ask();
    } catch (error) {
      if (!(error instanceof PolicyFault)) throw error;
      this.note(ruleOf(error), [error.message]);
      return error;
    }
  }

  private fresh(): PolicyInstance {
    return new PolicyInstance(this.module, this.policy.manifest, (...read) =>
      guestReader(this.current?.memory ?? [], (address, bytes) => this.reads.push({ address, bytes }))(
        ...read,
      ),
    );
  }

  private note(id: RuleId, faults: readonly string[]): void {
    const { call, head } = this.current ?? {};
    const witness =
      faults.length === 0 || call === undefined || head === undefined
        ? {}
        : {
            command: operationName(this.info, call.operation, call.command),
            call: vectorOfCall(call, head, this.reads, this.info),
          };
    this.book.note(id, faults, witness);
  }
}

/** How long the head of a command is; where the row leaves the size open, the command says it. */
function headBytes({ mask, head }: ClassInfo['commands'][number], command: number): number {
  return (mask & SIZE_BITS) === 0 ? (command >>> SIZE_SHIFT) & SIZE_MAX : head;
}

function ruleOf({ code }: PolicyFault): RuleId {
  if (code === 'fuel') return 'termination';
  return code === 'limit' ? 'bounds' : 'answers';
}

function sameOrTold(first: Verdict | Settlement, second: Verdict | Settlement): string[] {
  const [difference] = differencesOf(first, second);
  if (difference === undefined) return [];
  const { field, expected, actual } = difference;
  return [`the same call is answered otherwise: ${field} is ${String(actual)}, and was ${String(expected)}`];
}

function requirementKey(
  { table, source, offset, width, within }: Plan['requirements'][number],
  { tables }: ClassInfo,
): string {
  return `${tables[table]} ${source} ${offset} ${width} ${within}`;
}

function descriptionFaults(info: ClassInfo, again: ClassInfo, { manifest }: TriedPolicy): string[] {
  const faults: string[] = [];
  const { envelope } = manifest;
  if (info.class !== manifest.class)
    faults.push(`the module describes the class '${info.class}', and its manifest '${manifest.class}'`);
  if (differencesOf(info, again).length > 0) faults.push('another instance describes the class otherwise');
  if (info.reasons[0] !== '') faults.push('the first reason is not empty');
  for (const { name, number, mask, head, refused } of info.commands) {
    const type = String.fromCharCode((number >>> 8) & 0xff);
    if ((number & mask) >>> 0 !== number)
      faults.push(`${name}: no command is of a row whose number is not within its mask`);
    if (head > envelope.argumentBytesMax)
      faults.push(`${name}: a head of ${head} bytes is beyond the envelope's`);
    if (refused === 0 && !envelope.ioctlTypes.includes(type))
      faults.push(`${name}: its type '${type}' is not in the envelope`);
    if (refused >= info.reasons.length) faults.push(`${name}: it is refused for a reason that is not there`);
  }
  return faults;
}
