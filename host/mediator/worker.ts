/** A mediator worker: one guest's loop between the native plumbing and the policies. Started by guest.ts. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { DecisionTap } from '../audit/tap.js';
import { type NativeMediator, type NativeSource, native } from '../native.js';
import type { Call, Denial, Verdict } from '../policy/abi.js';
import { commandName, errnoName } from '../policy/described.js';
import { PolicyFault } from '../policy/fault.js';
import { DecisionClock } from './decision-times.js';
import { EVENT, Exchange } from './exchange.js';
import type { Judge } from './judge.js';
import { LogBudget } from './log-budget.js';
import type {
  NumberedCommand,
  WorkerAnswer,
  WorkerCommand,
  WorkerInput,
  WorkerMessage,
  WorkerSource,
} from './messages.js';
import { nativeClassOf } from './native-class.js';
import { describeNote, isOfClass, NOTE_PLAN_REFUSED, planError } from './notes.js';
import { Seat } from './seat.js';
import { Tape } from './tape.js';

/** asm-generic/errno-base.h: what a policy gets that reads while no operation is being judged. */
const EFAULT = 14;

const input = workerData as WorkerInput;
/** A collection takes some milliseconds, and an instance some tens of KiB. */
const SWITCHES_A_COLLECTION = 64;
/** All guests change modules together: so many of them in a row collect at switches of their own, for a processor can't serve two. */
const COLLECTING_APART = 8;

/** A kill takes milliseconds; what does not end by then is of a command that does not kill. */
const GUEST_END_MS = 2000;
const GUEST_POLL_MS = 5;

const exchange = new Exchange();
const clock = new DecisionClock();
const budget = new LogBudget(performance.now());
const tap = input.tap === undefined ? undefined : new DecisionTap(input.tap);
let mediator: NativeMediator | undefined;
let switches = ((input.guest % COLLECTING_APART) * SWITCHES_A_COLLECTION) / COLLECTING_APART;
let guestProcess = 0;
/** Why a policy was blamed last. */
let lastFault = '';
/** Commands that wait for the native side's word. */
const frontAsked: number[] = [];

function tell(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

function log(
  level: 'trace' | 'info' | 'warn' | 'error',
  fields: Record<string, unknown>,
  text: string,
): void {
  // Faults of a policy are few by themselves, and who wants every allowed operation gets them all.
  const isBounded = level === 'info' || level === 'warn';
  if (isBounded && !budget.take(performance.now())) return;
  if (isBounded) tellLeftOut();
  tell({ kind: 'log', level, fields, text });
}

function tellLeftOut(): void {
  const lines = budget.takeLeftOut();
  if (lines === 0) return;
  const fields = { lines, happened: 'log-flooded: the guest caused more lines than are logged of one guest' };
  tell({ kind: 'log', level: 'warn', fields, text: 'lines are left out' });
}

function readGuest(address: bigint, bytes: number, memory: Uint8Array, at: number): number {
  const errno = mediator?.read(address, bytes, memory, at) ?? EFAULT;
  if (errno === 0) tap?.read(address, memory, at, bytes);
  return errno;
}

const seats = input.classes.map(
  (module, classIndex) => new Seat(classIndex, input.nodes, module, readGuest, tellFault),
);

function tellFault({ input: { manifest }, isQuarantined }: Judge, fault: PolicyFault): void {
  const fields = {
    policy: manifest.name,
    fault: fault.code,
    quarantined: isQuarantined,
    detail: fault.message,
  };
  lastFault = `${fault.code}: ${fault.message}`;
  log('error', fields, 'a policy faulted: EIO');
}

/** Where the operations come from. A launcher is given its plan for that, and answers with its listener. */
function openSource(source: WorkerSource): NativeSource {
  if ('vm' in source) return source;
  native.sendPlan(source.socket, source.plan);
  return native.receiveListener(source.socket);
}

/** Begins to serve, and lets the program begin. */
function begin({ source }: WorkerInput): NativeMediator {
  const opened = openSource(source);
  const made = new native.Mediator(
    {
      ...opened,
      control: input.control,
      guest: input.guest,
      spinUs: input.spinUs,
      operationDeadlineMs: input.operationDeadlineMs,
      front: input.front,
      domain: input.domain,
      nodes: input.nodes,
      descriptors: input.descriptors,
      classes: seats.map(({ judge }) => nativeClassOf(judge, false)),
    },
    exchange.buffer,
  );
  guestProcess = 'vm' in opened ? opened.vm.process : opened.process;
  tell({ kind: 'started', process: guestProcess });
  if ('socket' in source) native.sendGo(source.socket);
  return made;
}

function seatOf(classIndex: number): Seat {
  const seat = seats[classIndex];
  if (seat === undefined)
    throw new Error(`The native mediator named the class ${classIndex}, which is not there.`);
  return seat;
}

/** May the operation happen? */
function admit(serving: NativeMediator): void {
  const seat = seatOf(exchange.classIndex);
  const { judge } = seat;
  const call = exchange.call();
  const verdict = clock.counts() ? timed(judge, call) : judge.admit(call, exchange.head());
  if (seat.tape !== undefined) seat.record(call, exchange.head());
  if (verdict === undefined) {
    if (restore(seat, serving)) exchange.writeAgain();
    else exchange.writeFault();
    return;
  }
  exchange.writeVerdict(verdict, tap !== undefined || seat.tape !== undefined);
  tap?.decided(judge, call, exchange.head(), verdict, exchange.process);
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

/** The module in force has misbehaved: the one before it takes its place again, if there is one. */
function restore(seat: Seat, serving: NativeMediator): boolean {
  const { digest, manifest } = seat.judge.input;
  if (!seat.restore(serving)) return false;
  tell({ kind: 'restored', class: manifest.class, digest, reason: lastFault });
  return true;
}

/** The native side has refused what a module on trial asked for. */
function takeRefusal(serving: NativeMediator): void {
  const seat = seatOf(exchange.classIndex);
  seat.judge.blame(
    new PolicyFault('plan', `The policy's answer was refused: ${planError(exchange.noteDetail)}.`),
  );
  if (restore(seat, serving)) exchange.writeAgain();
  else exchange.writeFault();
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

/** What does the driver's answer mean? The module that admitted the operation says it; if it can't, the one that is in force. */
function complete(serving: NativeMediator): void {
  const seat = seatOf(exchange.classIndex);
  const call = exchange.call();
  const judge = seat.judgeOf(exchange.generation);
  tap?.done(call, exchange.process, exchange.outcome);
  let settlement = judge.complete(call, exchange.head(), exchange.outcome);
  if (settlement === undefined && (judge !== seat.judge || restore(seat, serving)))
    settlement = seat.judge.complete(call, exchange.head(), exchange.outcome);
  if (seat.tape !== undefined) seat.record(call, exchange.head(), exchange.outcome);
  if (settlement === undefined) exchange.writeFault();
  else exchange.writeSettlement(settlement);
  if (judge !== seat.judge) seat.sweep(serving);
}

function tellNote(serving: NativeMediator): void {
  const note = exchange.note();
  const seat = seats[note.classIndex];
  const judge = seat?.judgeOf(exchange.generation);
  const described = describeNote(note, judge?.info);
  log('warn', described, 'noted');
  tap?.refused(
    isOfClass(note) ? judge : undefined,
    note.process,
    note.command,
    note.errno,
    String(described.happened),
  );
  if (note.kind !== NOTE_PLAN_REFUSED || seat === undefined || judge === undefined) return;
  judge.blame(new PolicyFault('plan', "The policy's answer was refused."));
  if (judge === seat.judge) restore(seat, serving);
}

/** What the main thread wants, between two operations. */
function takeCommands(serving: NativeMediator): void {
  for (;;) {
    const received = receiveMessageOnPort(input.commands) as { message: NumberedCommand } | undefined;
    if (received === undefined) return;
    const { id, command } = received.message;
    if (command.kind === 'front') moveToFront(id, command.isFront, serving);
    else tell({ kind: 'answer', id, answer: obey(command, serving) });
  }
}

/** A module's instance is small to V8 and not to the machine: without this, those of many reloads would wait for a collection. */
function collectGarbage(): void {
  switches++;
  if (switches % SWITCHES_A_COLLECTION === 0) globalThis.gc?.();
}

/** Answered when everything has been handed over. */
function moveToFront(id: number, isFront: boolean, serving: NativeMediator): void {
  frontAsked.push(id);
  serving.setFront(isFront);
}

function tellFront(): void {
  for (const id of frontAsked.splice(0)) tell({ kind: 'answer', id, answer: 'done' });
}

function obey(command: Exclude<WorkerCommand, { kind: 'front' }>, serving: NativeMediator): WorkerAnswer {
  switch (command.kind) {
    case 'count':
      return serving.counters();
    case 'leave':
      throw new Error('The host has ended; so has its mediation.');
    case 'lose':
      serving.loseDomain();
      return 'done';
    case 'domain':
      return serving.replaceDomain(command.domain) ? 'done' : 'refused';
    case 'record': {
      const seat = seats.find(({ judge }) => judge.info.class === command.class);
      if (seat !== undefined) seat.tape = command.tape === undefined ? undefined : new Tape(command.tape);
      return 'done';
    }
    case 'switch': {
      collectGarbage();
      const seat = seats.find(({ judge }) => judge.info.class === command.module.manifest.class);
      return { refusal: seat?.switchTo(command.module, command.onTrial, serving) };
    }
  }
}

function serve(serving: NativeMediator): void {
  for (;;) {
    switch (serving.step()) {
      case EVENT.admit:
        admit(serving);
        break;
      case EVENT.complete:
        complete(serving);
        break;
      case EVENT.control:
        takeCommands(serving);
        break;
      case EVENT.note:
        tellNote(serving);
        break;
      case EVENT.front:
        tellFront();
        break;
      case EVENT.refused:
        takeRefusal(serving);
        break;
      case EVENT.exit:
        return;
    }
  }
}

/**
 * The main thread kills the guest of a mediator that has failed. Until then its calls wait: a mediator that closed before would have them
 * end with ENOSYS, which no driver says.
 */
function awaitGuestsEnd(): void {
  const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  for (let waitedMs = 0; waitedMs < GUEST_END_MS && isGuestThere(); waitedMs += GUEST_POLL_MS)
    Atomics.wait(never, 0, 0, GUEST_POLL_MS);
}

function isGuestThere(): boolean {
  try {
    return guestProcess !== 0 && process.kill(guestProcess, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

try {
  mediator = begin(input);
  serve(mediator);
  const counters = mediator.counters();
  mediator.close();
  tap?.close();
  tellLeftOut();
  tell({ kind: 'ended', counters, decisions: clock.times() });
} catch (error) {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  awaitGuestsEnd();
  mediator?.close();
  tap?.close();
}
