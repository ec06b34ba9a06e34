import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseChecked } from '../../host/policy/checked-json.js';
import { ROOT } from '../../host/root.js';
import { charts } from './charts.js';
import type { Machine, Moment } from './machine.js';
import { withFigures } from './readme.js';
import type { Name, Results } from './suite.js';

/** What `--json` prints and what is recorded: the machine, when each benchmark ran, and what it found. */
export type Figures = { machine: Machine; measured: Partial<Record<Name, Moment>> } & Partial<Results>;

const README = join(ROOT, 'README.md');
/** Where the recorded figures and their charts are. */
export const RECORDED = join(ROOT, 'test', 'bench', '__generated__');
const FIGURES = join(RECORDED, 'figures.json');

/**
 * The recorded figures; undefined when nothing has been recorded.
 * @param replaced benchmarks that are left out: what was recorded of them may be older than their contract
 */
export function recordedFigures(replaced: readonly Name[] = []): Figures | undefined {
  let text: string;
  try {
    text = readFileSync(FIGURES, 'utf8');
  } catch {
    return undefined;
  }
  return parseChecked<Figures>(
    without(text, replaced),
    FIGURES,
    'bench.schema.json',
    'a record of benchmarks',
  );
}

/** A record without some benchmarks; one that is no JSON stays as it is, for whoever checks it. */
export function without(text: string, names: readonly Name[]): string {
  let figures: Figures;
  try {
    figures = JSON.parse(text);
  } catch {
    return text;
  }
  for (const name of names) {
    delete figures[name];
    delete figures.measured?.[name];
  }
  return JSON.stringify(figures);
}

/** Every file that figures make, by its path: themselves, their charts, and the README with its table. */
export function filesOf(figures: Figures): Record<string, string> {
  const drawn = Object.entries(charts(figures)).map(([file, svg]) => [join(RECORDED, file), svg]);
  return {
    [FIGURES]: `${JSON.stringify(figures, null, 2)}\n`,
    ...Object.fromEntries(drawn),
    [README]: withFigures(readFileSync(README, 'utf8'), figures),
  };
}

/**
 * Keeps figures.
 * @param before what was recorded, of which benchmarks stay that have not been run now; undefined: nothing shall stay
 * @throws Error when that is of another machine
 */
export function record(figures: Figures, before: Figures | undefined): void {
  const merged = before === undefined ? figures : merge(before, figures);
  const files = filesOf(merged);
  rmSync(RECORDED, { recursive: true, force: true });
  mkdirSync(RECORDED, { recursive: true });
  for (const [path, content] of Object.entries(files)) writeFileSync(path, content);
}

function merge(before: Figures, now: Figures): Figures {
  const kept = Object.keys(before.measured).filter((name) => !(name in now.measured));
  if (kept.length > 0 && JSON.stringify(before.machine) !== JSON.stringify(now.machine))
    throw new Error(
      `The record is of another machine (${describe(before.machine)}; this is ${describe(now.machine)}), and ${kept.join(', ')} would stay: record all benchmarks, without a name.`,
    );
  return { ...before, ...now, measured: { ...before.measured, ...now.measured } };
}

const describe = ({ processor, processors, kernel, node }: Machine): string =>
  `${processor}, ${processors} processors, Linux ${kernel}, Node ${node}`;
