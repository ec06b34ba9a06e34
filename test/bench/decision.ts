import { execFileSync } from 'node:child_process';
import { createMongoAbility } from '@casl/ability';
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { type Call, PolicyInstance } from '../../host/policy/abi.js';
import { meteredModule } from '../../host/policy/meter.js';
import { loadPolicies } from '../../host/policy/store.js';
import { numbersAfter } from './programs.js';
import type { Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/** Nanoseconds of one decision, medians: admit and complete are two calls of the module, `typicalNs` and `nestedNs` are admit's. */
export interface DecisionResult {
  /** VIDIOC_QUERYCAP: a row of the table, 104 bytes. */
  typicalNs: number;
  /** VIDIOC_S_EXT_CTRLS with three controls: an array that the module reads, two regions, a relocated pointer. */
  nestedNs: number;
  /** What the module says after the driver has answered. */
  completeNs: number;
  /** The same allow by Cedar (its policy set parsed beforehand), and by CASL in plain JavaScript. */
  cedarNs: number;
  caslNs: number;
  /** The typical check by hand, in C. */
  nativeNs: number;
  ratios: { cedarToTypical: number; caslToTypical: number; typicalToNative: number };
  /** 99th percentiles: of a block of decisions, because a single one is shorter than what reading the clock takes. */
  p99: Record<Way, number>;
  spread: Record<Way, number>;
}

type Way = 'typical' | 'nested' | 'complete' | 'casl' | 'cedar' | 'native';

/** linux/videodev2.h. */
const VIDIOC_QUERYCAP = 0x80685600;
const QUERYCAP_BYTES = 104;
const VIDIOC_S_EXT_CTRLS = 0xc0205648;
const EXT_CONTROLS = { bytes: 32, class: 0x98_0000, count: 3, controlBytes: 20, pointerAt: 24 } as const;
const POINTER = 0x7fff_0000n;
const BLOCKS = 400;
const QUICK_BLOCKS = 100;
const CALLS_A_BLOCK = 200;
/** Cedar takes hundreds of times as long. */
const CEDAR_CALLS_A_BLOCK = 4;
const NATIVE_CALLS = 1_000_000;
const NATIVE_RUNS = 20;
const WARM_UP_ROUNDS = 1000;
const CEDAR_SET = 'postern-bench';

/** Runs all in turn. */
export async function benchDecision({ quick, budget }: Stage): Promise<DecisionResult> {
  const { typical, nested, complete } = await policyCalls();
  const native = compileGuestProgram('decision', 'bench');
  const ways = {
    typical: block(typical, CALLS_A_BLOCK),
    nested: block(nested, CALLS_A_BLOCK),
    complete: block(complete, CALLS_A_BLOCK),
    casl: block(caslCall(), CALLS_A_BLOCK),
    cedar: block(cedarCall(), CEDAR_CALLS_A_BLOCK),
  };
  await interleave(ways, WARM_UP_ROUNDS);
  const samples = {
    ...(await interleave(ways, quick ? QUICK_BLOCKS : BLOCKS, budget)),
    ...(await interleave({ native: () => nsInC(native) }, NATIVE_RUNS)),
  };
  const each = (of: 'median' | 'p99' | 'spread') =>
    Object.fromEntries(
      Object.entries(samples).map(([name, values]) => [name, summarize(values)[of]]),
    ) as Record<Way, number>;
  const medians = each('median');
  return {
    typicalNs: medians.typical,
    nestedNs: medians.nested,
    completeNs: medians.complete,
    cedarNs: medians.cedar,
    caslNs: medians.casl,
    nativeNs: medians.native,
    ratios: {
      cedarToTypical: medians.cedar / medians.typical,
      caslToTypical: medians.casl / medians.typical,
      typicalToNative: medians.typical / medians.native,
    },
    p99: each('p99'),
    spread: each('spread'),
  };
}

/** Nanoseconds of one of `calls` calls. */
function block(call: () => unknown, calls: number): () => number {
  return () => {
    const began = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) call();
    return Number(process.hrtime.bigint() - began) / calls;
  };
}

const nsInC = (program: string): number =>
  numbersAfter(execFileSync(program, [String(NATIVE_CALLS)]).toString(), ['ns']).ns;

async function policyCalls(): Promise<Record<'typical' | 'nested' | 'complete', () => unknown>> {
  const v4l2 = loadPolicies().find(({ manifest }) => manifest.name === 'v4l2');
  if (v4l2 === undefined) throw new Error('There is no policy module v4l2: run `npm run build`.');
  const policy = new PolicyInstance(
    await meteredModule(v4l2.core),
    v4l2.manifest,
    (_address, bytes, memory, at) => {
      memory.fill(0, at, at + bytes);
      return 0;
    },
  );
  const querycap = callOf(VIDIOC_QUERYCAP);
  const head = new Uint8Array(QUERYCAP_BYTES);
  const controls = extControls();
  const settings = callOf(VIDIOC_S_EXT_CTRLS);
  demandAllow(policy.admit(querycap, head));
  demandAllow(policy.admit(settings, controls));
  return {
    typical: () => policy.admit(querycap, head),
    nested: () => policy.admit(settings, controls),
    complete: () => policy.complete(querycap, head, 0n),
  };
}

function demandAllow(verdict: { tag: string }): void {
  if (verdict.tag !== 'allow')
    throw new Error('The decision that is measured is a denial: the benchmark is out of date.');
}

function extControls(): Uint8Array {
  const bytes = new Uint8Array(EXT_CONTROLS.bytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, EXT_CONTROLS.class, true);
  view.setUint32(4, EXT_CONTROLS.count, true);
  view.setBigUint64(EXT_CONTROLS.pointerAt, POINTER, true);
  return bytes;
}

function callOf(command: number): Call {
  return {
    session: 1,
    node: 0,
    operation: 'ioctl',
    command,
    fileFlags: 2,
    argument: POINTER,
    length: 0n,
    offset: 0n,
    state: 0n,
  };
}

let cedarReady = false;

/** permit or not: a guest, a command, a device, and how many bytes. */
function cedarCall(): () => unknown {
  if (!cedarReady) {
    const { type } = cedar.preparsePolicySet(CEDAR_SET, {
      staticPolicies: `permit(principal, action == Action::"VIDIOC_QUERYCAP", resource) when { context.bytes <= ${QUERYCAP_BYTES} };`,
    });
    if (type !== 'success') throw new Error('Cedar does not take the policy.');
    cedarReady = true;
  }
  const call: cedar.StatefulAuthorizationCall = {
    principal: { type: 'Guest', id: 'guest' },
    action: { type: 'Action', id: 'VIDIOC_QUERYCAP' },
    resource: { type: 'Device', id: 'video0' },
    context: { bytes: QUERYCAP_BYTES },
    entities: [],
    preparsedPolicySetId: CEDAR_SET,
    validateRequest: false,
  };
  return () => cedar.statefulIsAuthorized(call);
}

function caslCall(): () => unknown {
  const ability = createMongoAbility([
    { action: 'VIDIOC_QUERYCAP', subject: 'Device', conditions: { bytes: { $lte: QUERYCAP_BYTES } } },
  ]);
  const device = { __caslSubjectType__: 'Device', bytes: QUERYCAP_BYTES };
  return () => ability.can('VIDIOC_QUERYCAP', device as never);
}
