import { readFileSync } from 'node:fs';
import { verdictText } from '../audit/diff.js';
import type { DescribedVerdict } from '../policy/described.js';
import { answersOf, parseVectors, type Vector } from '../policy/vectors.js';
import { printJson } from './refusal.js';
import { resolvePolicy } from './resolve-policy.js';
import { OBJECTION_STATUS } from './status.js';

/** Standard input, as many programs name it. */
const STANDARD_INPUT = '-';
/** What a vector must have and a call need not. */
const UNASKED: Vector['expect'] = { settle: {} };

/** One call and what the module says. */
interface Judged {
  call: Omit<Vector, 'name' | 'expect'>;
  answer: Record<string, unknown>;
}

/**
 * Prints what a module answers to calls in the notation of test vectors.
 * @throws Error when there is no such module, or with everything that is wrong with the calls
 */
export async function showJudge(module: string, calls: string, json: boolean | undefined): Promise<void> {
  const { policy } = await resolvePolicy(module);
  const vectors = readCalls(calls, policy.manifest.class);
  const answers = await answersOf(policy, vectors);
  const { operations } = policy.manifest.envelope;
  const judged = vectors.map(({ name: _, expect: __, ...call }, index): Judged => {
    const isOutside = call.outcome === undefined && !operations.includes(call.operation);
    return { call, answer: isOutside ? OUTSIDE : (answers[index] as Judged['answer']) };
  });
  if (json) printJson(judged);
  else process.stdout.write(judged.map(renderText).join(''));
  if (judged.some(({ answer }) => !('allow' in answer || 'settle' in answer)))
    process.exitCode = OBJECTION_STATUS;
}

/** The host denies what the envelope does not have, and asks no module. */
const OUTSIDE = { deny: { errno: 'EINVAL', reason: 'the operation is not in the envelope' } };

/** One call, or an array of them; a witness of `policy diff` and a vector are such calls. */
function readCalls(path: string, deviceClass: string): Vector[] {
  const source = path === STANDARD_INPUT ? 'standard input' : path;
  const text = readFileSync(path === STANDARD_INPUT ? 0 : path, 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${source} has no call: ${(error as Error).message}. ${EXAMPLE}`);
  }
  const given = (Array.isArray(value) ? value : [value]) as Partial<Vector>[];
  const vectors = given.map((call, index) => asVector(call, index));
  return parseVectors(JSON.stringify({ class: deviceClass, vectors }), source).vectors;
}

function asVector(call: Partial<Vector>, index: number): unknown {
  const isCall = typeof call === 'object' && call !== null;
  const expect = isCall && call.outcome === undefined ? { deny: { errno: 'EPERM', reason: '-' } } : UNASKED;
  return isCall ? { ...call, name: `call ${index + 1}`, expect } : call;
}

const EXAMPLE =
  'Expected one such as {"operation":"ioctl","command":"VIDIOC_QUERYCAP","argument":"0x7000","head":{"bytes":104}}.';

function renderText({ call, answer }: Judged): string {
  const what = call.operation === 'ioctl' ? (call.command ?? '') : call.operation;
  return `${what}: ${answerText(answer)}\n${JSON.stringify(answer, null, 2)}\n`;
}

function answerText(answer: Judged['answer']): string {
  if ('allow' in answer || 'deny' in answer) return verdictText(answer as DescribedVerdict);
  if ('settle' in answer) return 'settled';
  return 'unknown' in answer ? `not judged: ${answer.unknown}` : `the module fails: ${answer.fault}`;
}
