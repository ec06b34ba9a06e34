import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat a second (sysconf(_SC_CLK_TCK)): 100 on every x86-64 Linux. */
const TICKS_PER_SECOND = 100;
const KB_PER_MB = 1024;
/** Fields of /proc/PID/stat after the command's name (proc(5)): the parent, and processor time of its own and of children that ended. */
const STAT = { parent: 1, times: [11, 12, 13, 14] } as const;

interface Process {
  pid: number;
  parent: number;
  /** Its program's name. */
  command: string;
  ticks: number;
}

/** Processor time that this process and all that it has started have taken, seconds. */
export function processorSeconds(): number {
  return descendants().reduce((sum, { ticks }) => sum + ticks, 0) / TICKS_PER_SECOND;
}

/** Memory of this process and of all that it has started, MB: whatever several share is counted once among them (PSS of proc(5)). */
export interface TreeMemory {
  /** This process. */
  host: number;
  /** The backends' processes. */
  backends: number;
  /** All others: launchers and the guests' own programs. */
  guests: number;
  all: number;
}

/** @throws Error when a process may not be looked at */
export function treeMemory(): TreeMemory {
  const memory = { host: 0, backends: 0, guests: 0 };
  for (const { pid, command } of descendants()) {
    const share =
      pid === process.pid ? 'host' : /^(postern-agent|backend-)/.test(command) ? 'backends' : 'guests';
    memory[share] += pssMb(pid);
  }
  return { ...memory, all: memory.host + memory.backends + memory.guests };
}

function pssMb(pid: number): number {
  const text = contentOf(`/proc/${pid}/smaps_rollup`);
  return Number(text.match(/^Pss: +(\d+) kB/m)?.[1] ?? 0) / KB_PER_MB;
}

/** This process and all below it. */
function descendants(): Process[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const processes = all.map(Number).flatMap(describe);
  const found = new Set([process.pid]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { pid, parent } of processes) if (found.has(parent)) found.add(pid);
  }
  return processes.filter(({ pid }) => found.has(pid));
}

/** Nothing for a process that has ended meanwhile. */
function describe(pid: number): Process[] {
  const text = contentOf(`/proc/${pid}/stat`);
  const end = text.lastIndexOf(')');
  if (end < 0) return [];
  const fields = text
    .slice(end + 2)
    .split(' ')
    .map(Number);
  const ticks = STAT.times.reduce((sum, at) => sum + (fields[at] ?? 0), 0);
  return [{ pid, parent: fields[STAT.parent] ?? 0, command: text.slice(text.indexOf('(') + 1, end), ticks }];
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return '';
    throw error;
  }
}
