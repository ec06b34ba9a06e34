import { readFileSync } from 'node:fs';
import { schemaFaults } from '../policy/checked-json.js';
import { type ChainHead, hashOf, NO_LINE } from './chain.js';

/** Faults of one log that are told: enough to see what happened to it. */
const FAULTS_MAX = 50;

/** Where a chain is broken, and how. */
export interface ChainFault {
  file: string;
  /** The line in the file, from 1. */
  at: number;
  what: string;
}

/** What came of verifying a log. */
export interface VerifyReport {
  files: string[];
  lines: number;
  /** The number of the first line that was given: beyond 1, earlier segments are not there. */
  first: number;
  head: ChainHead;
  kinds: Record<string, number>;
  faults: ChainFault[];
}

interface Line {
  previous: string;
  line: number;
  kind: string;
  segment?: number;
}

/** Follows the chain through the files, which are its segments in any order. */
export class ChainVerifier {
  private readonly faults: ChainFault[] = [];
  private readonly kinds: Record<string, number> = {};
  private lines = 0;
  private first = 1;
  private head: ChainHead = { lines: 0, hash: NO_LINE };

  /** Takes the whole text of the next segment. */
  take(file: string, text: string): void {
    const lines = text.split('\n');
    const tail = lines.pop();
    for (const [index, line] of lines.entries()) this.takeLine(file, index + 1, line);
    if (tail !== undefined && tail !== '') this.fault(file, lines.length + 1, 'the file ends within a line');
    if (text === '') this.fault(file, 1, 'the file is empty');
  }

  /** What came of it. `expected` is the chain's end as it was told when the log was closed. */
  report(files: string[], expected: Partial<ChainHead> | undefined): VerifyReport {
    const { head } = this;
    if (expected?.hash !== undefined && expected.hash !== head.hash) {
      const lacks =
        expected.lines === undefined || expected.lines === head.lines
          ? ''
          : `: it has ${head.lines} lines, and ${expected.lines} are expected`;
      this.fault(
        files.at(-1) ?? '',
        this.lines,
        `the log does not end as expected${lacks}; its tail is not the one that was written`,
      );
    }
    return { files, lines: this.lines, first: this.first, head, kinds: this.kinds, faults: this.faults };
  }

  private takeLine(file: string, at: number, text: string): void {
    this.lines++;
    const parsed = parse(text);
    if (parsed === undefined) {
      this.fault(file, at, 'it is no line of a decision log: not JSON');
      this.head = { lines: this.head.lines + 1, hash: hashOf(text) };
      return;
    }
    for (const fault of schemaFaults(parsed, 'decision.schema.json', ['vectors.schema.json']))
      this.fault(file, at, fault);
    this.follow(file, at, parsed);
    this.kinds[parsed.kind] = (this.kinds[parsed.kind] ?? 0) + 1;
    this.head = {
      lines: typeof parsed.line === 'number' ? parsed.line : this.head.lines + 1,
      hash: hashOf(text),
    };
  }

  private follow(file: string, at: number, { previous, line, kind }: Line): void {
    if (this.lines === 1) {
      this.first = line;
      if (line === 1 && previous !== NO_LINE)
        this.fault(file, at, 'the first line of a chain names a line before it');
      if (kind !== 'segment')
        this.fault(file, at, `a log begins with a segment's line, and this is '${kind}'`);
      return;
    }
    const wanted = this.head.lines + 1;
    const last = line - 1;
    const gone = last === wanted ? `line ${last} has` : `lines ${wanted} to ${last} have`;
    if (line > wanted) this.fault(file, at, `${gone} been removed`);
    else if (line < wanted)
      this.fault(file, at, `line ${line} is out of its order: ${wanted} is expected here`);
    else if (previous !== this.head.hash)
      this.fault(file, at, `line ${line - 1}, the one before, is not the one that was written`);
  }

  private fault(file: string, at: number, what: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push({ file, at, what });
  }
}

function parse(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Verifies a log: that no line was removed, changed or put elsewhere, and, with `expected`, that none is missing at its end.
 * @param paths the log's segments, in any order
 * @throws Error when a file can't be read
 */
export function verifyLog(paths: readonly string[], expected?: Partial<ChainHead>): VerifyReport {
  const segments = paths
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }))
    .map(({ path, text }) => ({ path, text, order: firstLineNumber(text) }))
    .sort((a, b) => a.order - b.order);
  const verifier = new ChainVerifier();
  for (const { path, text } of segments) verifier.take(path, text);
  return verifier.report(
    segments.map(({ path }) => path),
    expected,
  );
}

function firstLineNumber(text: string): number {
  const line = parse(text.split('\n', 1)[0] ?? '')?.line;
  return typeof line === 'number' ? line : Number.MAX_SAFE_INTEGER;
}
