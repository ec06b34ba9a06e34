import { PolicyInstance } from '../policy/abi.js';
import { operationName } from '../policy/described.js';
import { meteredModule } from '../policy/meter.js';
import type { TriedPolicy, VectorFile } from '../policy/vectors.js';
import { callsOfVectors, type GeneratedCall, guestReader } from './generated-calls.js';

/** Decisions that are timed together: reading the clock costs as much as a short decision. */
const BATCH = 16;
/** Batches of one command: enough for a 99th percentile. */
const BATCHES_DEFAULT = 400;
/** Batches before those that count: V8 compiles the module's hot functions meanwhile. */
const WARM_UP_BATCHES = 50;

/** What the decisions of one command cost, in nanoseconds. */
export interface CommandCost {
  command: string;
  /** Calls of the vectors that were taken in turn. */
  inputs: number;
  medianNs: number;
  /** The 99th percentile of batches of 16 decisions, for one decision. */
  p99Ns: number;
}

/**
 * Times a module's decisions by command, on the calls of its vectors. Times are of the policy alone, through the mediator's glue;
 * what an operation costs besides is what `npm run bench` tells.
 */
export async function benchPolicy(
  { core, manifest }: TriedPolicy,
  { vectors }: VectorFile,
  batches = BATCHES_DEFAULT,
): Promise<CommandCost[]> {
  let memory: GeneratedCall['memory'] = [];
  const instance = new PolicyInstance(await meteredModule(core), manifest, (...read) =>
    guestReader(memory)(...read),
  );
  const info = instance.describe();
  const byCommand = new Map<string, GeneratedCall[]>();
  for (const generated of callsOfVectors(
    vectors.filter(({ outcome }) => outcome === undefined),
    info,
  )) {
    const name = operationName(info, generated.call.operation, generated.call.command);
    byCommand.set(name, [...(byCommand.get(name) ?? []), generated]);
  }
  return [...byCommand].map(([command, inputs]) => {
    const batch = (index: number): number => {
      const { call, head, memory: pieces } = inputs[index % inputs.length] as GeneratedCall;
      memory = pieces;
      const began = process.hrtime.bigint();
      for (let turn = 0; turn < BATCH; turn++) instance.admit(call, head);
      return Number(process.hrtime.bigint() - began) / BATCH;
    };
    for (let index = 0; index < WARM_UP_BATCHES; index++) batch(index);
    const times = Array.from({ length: batches }, (_, index) => batch(index)).sort((a, b) => a - b);
    const at = (share: number): number => Math.round(times[Math.floor((times.length - 1) * share)] ?? 0);
    return { command, inputs: inputs.length, medianNs: at(0.5), p99Ns: at(0.99) };
  });
}
