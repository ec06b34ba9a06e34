/** The writer of a decision log: a thread that takes records from the guests' rings, and makes lines of a chain of them. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  type DecisionRecord,
  decisionBody,
  faultBody,
  type LoggedGuest,
  programOf,
  refusalBody,
} from './lines.js';
import { LogFile } from './log-file.js';
import type { LogCommand, LogMessage, LogWorkerInput } from './log-messages.js';
import { decodeRecord } from './record.js';
import { Ring } from './ring.js';
import type { ModuleMessage } from './tap.js';

/** How often the writer looks by itself: so old is the youngest line at most. */
const LOOK_MS = 100;
/** Lines that are formatted before they are written: some hundred KiB. */
const BATCH_LINES = 512;
/** As the weakest of the threads (nice(2)): where processors are short, guests go first, and the rings hold what waits. */
const NICENESS = 10;
/** After a failed write, how long until the next try. */
const RETRY_MS = 250;
/** At the end, how long a full disk is waited for. */
const CLOSE_WAIT_MS = 2000;
/** Decisions whose outcome is waited for; the oldest are written without one. */
const UNFINISHED_MAX = 2048;

const input = workerData as LogWorkerInput;
const bell = new Int32Array(input.bell);
const redacted = new Set(input.redact);

interface Client extends LoggedGuest {
  ring: Ring;
  port: MessagePort;
  modules: Map<number, ModuleMessage>;
  unfinished: Map<number, DecisionRecord>;
  counts: { allowed: number; denied: number; dropped: number };
}

const clients = new Set<Client>();
let file: LogFile;
let isStuck = false;
let isClosing = false;

function tell(message: LogMessage): void {
  parentPort?.postMessage(message);
}

/** New guests, and the wish to end. */
function takeCommands(): void {
  for (;;) {
    const received = receiveMessageOnPort(input.commands) as { message: LogCommand } | undefined;
    if (received === undefined) return;
    const command = received.message;
    if (command.kind === 'close') isClosing = true;
    else
      clients.add({
        name: command.name,
        number: command.number,
        isProcess: command.isProcess,
        ring: new Ring(command.ring, bell),
        port: command.port,
        modules: new Map(),
        unfinished: new Map(),
        counts: { allowed: 0, denied: 0, dropped: 0 },
      });
  }
}

/** Takes what the rings have, as long as it can be written. */
function drain(): void {
  for (const client of clients) {
    const wasClosed = client.ring.isClosed;
    for (let record = client.ring.take(); record !== undefined; record = client.ring.take()) {
      takeRecord(client, record);
      if (file.unwritten.length >= BATCH_LINES && !write()) return;
    }
    tellDropped(client);
    if (wasClosed) end(client);
  }
  write();
}

function takeRecord(client: Client, bytes: Uint8Array): void {
  const record = decodeRecord(bytes);
  // At once: a short program has ended when its driver answers.
  if (record.kind !== 'outcome' && client.isProcess) programOf(record.process);
  if (record.kind === 'refusal') {
    client.counts.denied++;
    file.add(refusalBody(client, moduleOf(client, record.module), record));
  } else if (record.kind === 'fault') {
    if (record.errno !== 0) client.counts.denied++;
    file.add(faultBody(client, toldModule(client, record.module), record));
  } else if (record.kind === 'outcome') {
    const decision = client.unfinished.get(record.id);
    if (decision === undefined) return;
    client.unfinished.delete(record.id);
    addDecision(client, decision, record);
  } else if (record.verdict.tag === 'deny') addDecision(client, record, undefined);
  else {
    client.unfinished.set(record.id, record);
    if (client.unfinished.size > UNFINISHED_MAX) finishOldest(client);
  }
}

function addDecision(
  client: Client,
  record: DecisionRecord,
  answer: { outcome: bigint; timeMs: number } | undefined,
): void {
  const module = toldModule(client, record.module);
  client.counts[record.verdict.tag === 'deny' ? 'denied' : 'allowed']++;
  file.add(decisionBody(client, module, record, answer, redacted));
}

function finishOldest(client: Client): void {
  for (const [id, record] of client.unfinished) {
    client.unfinished.delete(id);
    addDecision(client, record, undefined);
    return;
  }
}

function toldModule(client: Client, id: number): ModuleMessage {
  const module = moduleOf(client, id);
  if (module === undefined) throw new Error(`A record names the module ${id}, which nobody has told of.`);
  return module;
}

/** Modules are told before the first record that names them. */
function moduleOf(client: Client, id: number): ModuleMessage | undefined {
  for (let known = client.modules.get(id); ; known = client.modules.get(id)) {
    if (known !== undefined) return known;
    const received = receiveMessageOnPort(client.port) as { message: ModuleMessage } | undefined;
    if (received === undefined) return undefined;
    client.modules.set(received.message.id, received.message);
  }
}

function tellDropped(client: Client): void {
  const dropped = client.ring.takeDropped();
  if (dropped === 0) return;
  client.counts.dropped += dropped;
  file.add({
    ...{ kind: 'dropped', time: new Date().toISOString(), guest: client.name, guestNumber: client.number },
    ...{ dropped, reason: 'the log could not be written as fast as the guest was served' },
  });
}

function end(client: Client): void {
  while (client.unfinished.size > 0) finishOldest(client);
  file.add({
    ...{ kind: 'ended', time: new Date().toISOString(), guest: client.name, guestNumber: client.number },
    ...client.counts,
  });
  client.port.close();
  clients.delete(client);
}

/** Whether everything is in the file. While it isn't, nothing more is taken from the rings. */
function write(): boolean {
  try {
    file.flush();
    if (isStuck) tell({ kind: 'recovered' });
    isStuck = false;
    return true;
  } catch (error) {
    if (!isStuck) tell({ kind: 'stuck', message: (error as Error).message });
    isStuck = true;
    return false;
  }
}

function serve(): void {
  while (!isClosing || clients.size > 0) {
    const seen = Atomics.load(bell, 0);
    takeCommands();
    if (!isStuck || write()) drain();
    if (isClosing && isStuck) break;
    if (isClosing) for (const client of clients) client.ring.close();
    Atomics.wait(bell, 0, seen, isStuck ? RETRY_MS : LOOK_MS);
  }
}

/** The last lines: what still can't be written is told, so that no denial goes unseen. */
function conclude(): void {
  const deadline = Date.now() + CLOSE_WAIT_MS;
  while (!write() && Date.now() < deadline) Atomics.wait(bell, 0, Atomics.load(bell, 0), RETRY_MS);
  if (isStuck) {
    for (const client of clients) {
      for (let record = client.ring.take(); record !== undefined; record = client.ring.take())
        takeRecord(client, record);
      tellDropped(client);
      end(client);
    }
    tell({
      kind: 'lost',
      lines: file.unwritten.filter((line) => /"(?:verdict":"deny"|kind":"(?:refusal|fault)")/.test(line)),
      total: file.unwritten.length,
    });
  }
  file.close();
  tell({ kind: 'closed', head: file.chain });
}

/** Gives way to the guests and their mediators. */
function stepBack(): void {
  const thread = Number(readlinkSync('/proc/thread-self').split('/').pop());
  setPriority(thread, NICENESS);
}

try {
  stepBack();
  file = new LogFile(input.path, input.segmentBytesMax, input.about);
  write();
  tell({ kind: 'open' });
  serve();
  conclude();
} catch (error) {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}
