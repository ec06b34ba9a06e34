/** A mediator worker: one guest's loop between the native plumbing and the policies. Started by guest.ts. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type NativeEnvelope, type NativeMediator, native } from '../native.js';
import { accessBits, type Call, type ClassInfo, type Denial, type Verdict } from '../policy/abi.js';
import { PolicyFault } from '../policy/fault.js';
import type { Manifest } from '../policy/manifest.js';
import { DecisionClock } from './decision-times.js';
import { EVENT, Exchange } from './exchange.js';
import { Judge } from './judge.js';
import type { NumberedCommand, WorkerAnswer, WorkerCommand, WorkerInput, WorkerMessage } from './messages.js';
import { commandName, describeNote, errnoName, NOTE_PLAN_REFUSED } from './notes.js';

/** asm-generic/errno-base.h: what a policy gets that reads while no operation is being judged. */
const EFAULT = 14;
const OPERATION_BITS = { open: 1, ioctl: 2, read: 4, write: 8, mmap: 16, seek: 32 } as const;

const input = workerData as WorkerInput;
const exchange = new Exchange();
const clock = new DecisionClock();
let mediator: NativeMediator | undefined;

function tell(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

function log(
  level: 'trace' | 'info' | 'warn' | 'error',
  fields: Record<string, unknown>,
  text: string,
): void {
  tell({ kind: 'log', level, fields, text });
}

const judges = input.classes.map(
  ({ module, manifest }) =>
    new Judge(
      module,
      manifest,
      (address, bytes, memory, at) => mediator?.read(address, bytes, memory, at) ?? EFAULT,
      (policy, fault, quarantined) =>
        log(
          'error',
          { policy, fault: fault.code, quarantined, detail: fault.message },
          'a policy faulted: EIO',
        ),
    ),
);

/** Gives the launcher its plan, takes the listener, and lets the program begin. */
function begin(): NativeMediator {
  native.sendPlan(input.socket, input.plan);
  const { listener, process } = native.receiveListener(input.socket);
  const made = new native.Mediator(
    {
      listener,
      process,
      control: input.control,
      guest: input.guest,
      spinUs: input.spinUs,
      domain: input.domain,
      nodes: input.nodes,
      classes: judges.map(({ info, manifest }) => ({
        envelope: envelopeOf(manifest),
        exclusive: manifest.sharing === 'exclusive',
        commands: commandsOf(info),
      })),
    },
    exchange.buffer,
  );
  tell({ kind: 'started', process });
  native.sendGo(input.socket);
  return made;
}

function envelopeOf({ envelope }: Manifest): NativeEnvelope {
  return {
    ...envelope,
    operations: envelope.operations.reduce((bits, operation) => bits | OPERATION_BITS[operation], 0),
    ioctlTypes: envelope.ioctlTypes.map((type) => type.charCodeAt(0)),
  };
}

function commandsOf(
  info: ClassInfo,
): { number: number; mask: number; headBytes: number; access: number; nested: boolean }[] {
  return info.commands.map(({ number, mask, head, access, nested }) => ({
    number,
    mask,
    headBytes: head,
    access: accessBits(access),
    nested,
  }));
}

function judgeOf(classIndex: number): Judge {
  const judge = judges[classIndex];
  if (judge === undefined)
    throw new Error(`The native mediator named the class ${classIndex}, which is not there.`);
  return judge;
}

/** May the operation happen? */
function admit(): void {
  const judge = judgeOf(exchange.classIndex);
  const call = exchange.call();
  const verdict = clock.counts() ? timed(judge, call) : judge.admit(call, exchange.head());
  if (verdict === undefined) {
    exchange.writeFault();
    return;
  }
  exchange.writeVerdict(verdict);
  if (verdict.tag === 'deny') {
    if (input.tellsDenied) tellDenial(judge, verdict.val, call.operation, call.command);
  } else if (input.tellsAllowed)
    log(
      'trace',
      { class: judge.info.class, ...named(judge, call.operation, call.command), process: exchange.process },
      'allowed',
    );
}

function timed(judge: Judge, call: Call): Verdict | undefined {
  const began = performance.now();
  const verdict = judge.admit(call, exchange.head());
  clock.record(performance.now() - began);
  return verdict;
}

function named(judge: Judge, operation: string, command: number): Record<string, unknown> {
  return operation === 'ioctl' ? { operation, command: commandName(judge.info, command) } : { operation };
}

function tellDenial(
  judge: Judge,
  { errno, reason, field }: Denial,
  operation: string,
  command: number,
): void {
  log(
    'info',
    {
      class: judge.info.class,
      ...named(judge, operation, command),
      process: exchange.process,
      errno: errnoName(errno),
      reason: judge.info.reasons[reason] ?? reason,
      ...(field === 0xffffffff ? {} : { fieldOffset: field }),
    },
    'denied',
  );
}

/** What does the driver's answer mean? */
function complete(): void {
  const judge = judgeOf(exchange.classIndex);
  const settlement = judge.complete(exchange.call(), exchange.head(), exchange.outcome);
  if (settlement === undefined) exchange.writeFault();
  else exchange.writeSettlement(settlement);
}

function tellNote(): void {
  const note = exchange.note();
  const judge = judges[note.classIndex];
  log('warn', describeNote(note, judge?.info), 'noted');
  if (note.kind === NOTE_PLAN_REFUSED)
    judge?.blame(new PolicyFault('plan', "The policy's answer was refused."));
}

/** What the main thread wants, between two operations. */
function takeCommands(serving: NativeMediator): void {
  for (;;) {
    const received = receiveMessageOnPort(input.commands) as { message: NumberedCommand } | undefined;
    if (received === undefined) return;
    const { id, command } = received.message;
    tell({ kind: 'answer', id, answer: obey(command, serving) });
  }
}

function obey(command: WorkerCommand, serving: NativeMediator): WorkerAnswer {
  switch (command.kind) {
    case 'count':
      return serving.counters();
  }
}

function serve(serving: NativeMediator): void {
  for (;;) {
    switch (serving.step()) {
      case EVENT.admit:
        admit();
        break;
      case EVENT.complete:
        complete();
        break;
      case EVENT.control:
        takeCommands(serving);
        break;
      case EVENT.note:
        tellNote();
        break;
      case EVENT.exit:
        return;
    }
  }
}

try {
  mediator = begin();
  serve(mediator);
  const counters = mediator.counters();
  mediator.close();
  tell({ kind: 'ended', counters, decisions: clock.times() });
} catch (error) {
  mediator?.close();
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}
