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

/** asm-generic/errno-base.h: what a policy gets that reads while no operation is being judged, and what a guest gets whose operation nobody can judge. */
const EFAULT = 14;
const EIO = 5;

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
/** Apart, so that a guest that floods the log does not hide how it made a policy misbehave. */
const faultBudget = new LogBudget(performance.now());
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

function log(level: 'trace' | 'info' | 'warn', fields: Record<string, unknown>, text: string): void {
  // Who wants every allowed operation gets them all.
  if (level === 'trace' || within(budget)) tell({ kind: 'log', level, fields, text });
}

/** Whether a line may be logged now. If so, it is told before how many were left out. */
function within(bound: LogBudget): boolean {
  if (!bound.take(performance.now())) return false;
  tellLeftOut(bound);
  return true;
}

function tellLeftOut(bound: LogBudget): void {
  const lines = bound.takeLeftOut();
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

/** A policy has misbehaved in the operation that the exchange has. */
function tellFault(judge: Judge, fault: PolicyFault): void {
  const { digest, manifest } = judge.input;
  const standIn = seats[exchange.classIndex]?.standInOf(judge);
  const call = exchange.call();
  const text = `${fault.code}: ${fault.message}`;
  tap?.faulted(judge, call, exchange.process, standIn === undefined ? EIO : 0, text);
  if (fault.code === 'quarantined') return;
  lastFault = text;
  if (within(faultBudget)) tell(faultLine(judge, fault, call, standIn));
  // What is put back at once is told then.
  if (standIn === undefined && judge.isNewlyFaulty)
    tell({ kind: 'misbehaved', class: manifest.class, digest, reason: text });
}

function faultLine(
  judge: Judge,
  { code, message }: PolicyFault,
  call: Call,
  standIn: Judge | undefined,
): WorkerMessage {
  const { digest, manifest } = judge.input;
  const fields = {
    ...{ class: manifest.class, policy: manifest.name, version: manifest.version, digest },
    ...{ device: devicesOf(exchange.classIndex, call.node), process: exchange.process },
    ...named(judge, call.operation, call.command),
    ...{ fault: code, detail: message, quarantined: judge.isQuarantined },
    ...(standIn === undefined ? { errno: 'EIO' } : { judgedBy: standIn.input.manifest.version }),
  };
  const isOut = standIn === undefined && judge.isQuarantined;
  const text = isOut
    ? 'a policy faulted too often and is not run any more: operations of its class fail with EIO until another version is installed'
    : 'a policy faulted';
  return { kind: 'log', level: 'error', fields, text };
}

/** The guest's devices of one kind of a class: mostly one; the contract's calls name no more than the kind. */
function devicesOf(classIndex: number, kind: number): string {
  const names = input.nodes
    .filter((node) => node.classIndex === classIndex && node.kind === kind)
    .map(({ name }) => name);
  const [first = '', ...others] = names;
  return others.length === 0 ? first : `${first} or ${others.length} others of its kind`;
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
  tell({ kind: 'misbehaved', class: manifest.class, digest, reason: lastFault });
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
  if (note.kind === NOTE_PLAN_REFUSED && seat !== undefined && judge !== undefined) {
    judge.blame(new PolicyFault('plan', `The policy's answer was refused: ${planError(note.detail)}.`));
    if (judge === seat.judge) restore(seat, serving);
    return;
  }
  log('warn', described, 'noted');
  tap?.refused(
    isOfClass(note) ? judge : undefined,
    note.process,
    note.command,
    note.errno,
    String(described.happened),
  );
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
  for (const bound of [budget, faultBudget]) tellLeftOut(bound);
  tell({ kind: 'ended', counters, decisions: clock.times() });
} catch (error) {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  awaitGuestsEnd();
  mediator?.close();
  tap?.close();
}
