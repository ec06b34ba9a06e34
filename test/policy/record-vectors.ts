import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import type {
  Call,
  ClassInfo,
  GuestReader,
  PolicyInstance,
  Settlement,
  Verdict,
} from '../../host/policy/abi.js';
import { describeSettlement, describeVerdict } from '../../host/policy/described.js';
import {
  type Vector,
  type VectorFile,
  vectorOfCall,
  vectorsPath,
  withoutEmpty,
} from '../../host/policy/vectors.js';

/**
 * Set for `npx vitest run test/policy`, this makes vectors of the calls that the classes' tests make and judge: whoever changes a
 * class records them anew, and looks at what has changed in them as at any other change.
 */
export const RECORDS = process.env.POSTERN_RECORD_VECTORS !== undefined;

/** A policy instance that writes down what it is asked and answers. */
export class VectorRecorder {
  private readonly reads: { address: bigint; bytes: Uint8Array }[] = [];
  private instance: PolicyInstance | undefined;
  private info: ClassInfo | undefined;

  constructor(
    private readonly name: string,
    private readonly read: GuestReader,
  ) {}

  /** The reader that the instance is to have. */
  readonly reader: GuestReader = (address, length, memory, at) => {
    const errno = this.read(address, length, memory, at);
    if (errno === 0) this.reads.push({ address, bytes: memory.slice(at, at + length) });
    return errno;
  };

  /** The instance, recorded. */
  over(instance: PolicyInstance): PolicyInstance {
    this.instance = instance;
    this.info = instance.describe();
    return {
      describe: () => instance.describe(),
      admit: (call: Call, head: Uint8Array) => this.admit(call, head),
      complete: (call: Call, head: Uint8Array, outcome: bigint) => this.complete(call, head, outcome),
    } as PolicyInstance;
  }

  private admit(call: Call, head: Uint8Array): Verdict {
    this.reads.length = 0;
    const verdict = (this.instance as PolicyInstance).admit(call, head);
    const told = describeVerdict(verdict, this.info as ClassInfo);
    const answer =
      'allow' in told
        ? { allow: withoutEmpty(told.allow, 'allow') as typeof told.allow }
        : { deny: told.deny };
    this.keep(call, head, undefined, answer);
    return verdict;
  }

  private complete(call: Call, head: Uint8Array, outcome: bigint): Settlement {
    this.reads.length = 0;
    const settlement = (this.instance as PolicyInstance).complete(call, head, outcome);
    const told = describeSettlement(settlement, this.info as ClassInfo);
    this.keep(call, head, Number(outcome), { settle: withoutEmpty(told, 'settle') });
    return settlement;
  }

  private keep(call: Call, head: Uint8Array, outcome: number | undefined, answer: Vector['expect']): void {
    const vector: Vector = {
      name: expect.getState().currentTestName?.replaceAll(' > ', ': ') ?? 'made before the tests',
      ...vectorOfCall(call, head, this.reads, this.info as ClassInfo),
      ...(outcome === undefined ? {} : { outcome }),
      expect: answer,
    };
    addVector(this.name, (this.info as ClassInfo).class, vector);
  }
}

/** Adds a vector to its class's file, unless the same call is there. Its name gets the command's, and a number where needed. */
export function addVector(name: string, className: string, vector: Vector): void {
  const path = vectorsPath(name);
  const file: VectorFile = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as VectorFile)
    : { class: className, vectors: [] };
  const same = ({ name: _, expect: __, ...call }: Vector): string => JSON.stringify(call);
  if (file.vectors.some((known) => same(known) === same(vector))) return;
  const what = vector.operation === 'ioctl' ? vector.command : vector.operation;
  const base = `${what}${vector.outcome === undefined ? '' : ' done'}: ${vector.name}`.slice(0, 230);
  const names = new Set(file.vectors.map((known) => known.name));
  let unique = base;
  for (let number = 2; names.has(unique); number++) unique = `${base} (${number})`;
  file.vectors.push({ ...vector, name: unique });
  writeFileSync(path, textOf(file));
}

/** One vector a line: a change of a vector is a change of a line. */
function textOf({ class: className, vectors }: VectorFile): string {
  const lines = vectors.map((vector) => `    ${JSON.stringify(vector)}`).join(',\n');
  return `{\n  "class": ${JSON.stringify(className)},\n  "vectors": [\n${lines}\n  ]\n}\n`;
}
