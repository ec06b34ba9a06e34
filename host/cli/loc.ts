/** `npm run loc [-- --json]`: how much code there is, and how much of it is about one device class. */
import { readFileSync } from 'node:fs';
import { basename, extname, join, relative, sep } from 'node:path';
import { ROOT } from '../root.js';
import { filesBelow } from '../setup/stamp.mjs';
import { renderTable } from './table.js';

/** Lines of some files: all of them, and those with more on them than white space and comment. */
interface Lines {
  physical: number;
  code: number;
}

type Part = 'classSpecific' | 'sdk' | 'host' | 'native';

const NATIVE_ENDINGS = new Set(['.c', '.cc', '.h']);
const NOT_WRITTEN = new Set(['__generated__', 'build', 'node_modules']);
/** The paper's five classes have 900 lines there; this is the bound for the same five here. */
const CLASS_LINES_MAX = 900;
/** Classes that the paper does not have. */
const EXTRA_CLASSES = new Set(['dma-buf', 'media', 'pty']);

const files = ['policies', 'host', 'native']
  .flatMap((folder) => filesBelow(join(ROOT, folder)))
  .map((path) => relative(ROOT, path))
  .filter((path) => !path.split(sep).some((part) => NOT_WRITTEN.has(part)));

/** The part of the program that a file belongs to; undefined for what is no code of any. */
function partOf(path: string): Part | undefined {
  const [top, second = ''] = path.split(sep);
  const isTypeScript = extname(path) === '.ts';
  if (top === 'policies' && isTypeScript) return second === 'sdk' ? 'sdk' : 'classSpecific';
  if (top === 'host' && isTypeScript) return 'host';
  return top === 'native' && NATIVE_ENDINGS.has(extname(path)) ? 'native' : undefined;
}

function linesOf(paths: readonly string[]): Lines {
  const counts = paths.map((path) => countLines(readFileSync(join(ROOT, path), 'utf8')));
  return {
    physical: counts.reduce((sum, { physical }) => sum + physical, 0),
    code: counts.reduce((sum, { code }) => sum + code, 0),
  };
}

function countLines(text: string): Lines {
  const withoutBlocks = text.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, '');
  const isCode = (line: string): boolean => line.trim() !== '' && !line.trim().startsWith('//');
  return { physical: text.split('\n').length - 1, code: withoutBlocks.split('\n').filter(isCode).length };
}

const filesOf = (part: Part): string[] => files.filter((path) => partOf(path) === part);
const parts = ['classSpecific', 'sdk', 'host', 'native'] as const;
const totals = parts.map((part) => ({ part, lines: linesOf(filesOf(part)) }));

/** A class is one file. */
function classOf(path: string): string {
  return basename(path, '.ts');
}

function boundText(lines: number): string {
  const over = lines - CLASS_LINES_MAX;
  return over > 0
    ? `${over} lines over the bound of ${CLASS_LINES_MAX}`
    : `within the bound of ${CLASS_LINES_MAX}`;
}

function renderText(): string {
  const classFiles = filesOf('classSpecific');
  const names = [...new Set(classFiles.map(classOf))].sort();
  const classes = names.map((name) => ({
    name,
    lines: linesOf(classFiles.filter((path) => classOf(path) === name)),
  }));
  const ofPaper = classes.filter(({ name }) => !EXTRA_CLASSES.has(name));
  const sum = (key: keyof Lines): number => ofPaper.reduce((total, { lines }) => total + lines[key], 0);
  const row = (name: string, { physical, code }: Lines): string[] => [name, String(physical), String(code)];
  return [
    renderTable(
      ['part', 'lines', 'without comments and blank lines'],
      totals.map(({ part, lines }) => row(part, lines)),
    ),
    renderTable(
      ['class', 'lines', 'without comments and blank lines'],
      [
        ...classes.map(({ name, lines }) => row(EXTRA_CLASSES.has(name) ? `${name} (extra)` : name, lines)),
        row("the paper's classes", { physical: sum('physical'), code: sum('code') }),
      ],
    ),
    `All lines of a file count, comments and blank ones too; generated layouts do not. The paper's classes are ${boundText(sum('physical'))}.\n`,
  ].join('\n');
}

const json = Object.fromEntries(totals.map(({ part, lines }) => [part, lines.physical]));
process.stdout.write(process.argv.includes('--json') ? `${JSON.stringify(json, null, 2)}\n` : renderText());
