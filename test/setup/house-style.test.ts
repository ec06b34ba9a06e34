import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../host/root.js';
import { filesBelow } from '../../host/setup/stamp.mjs';

/** A file longer than this holds more than one mechanism. */
const FILE_LINES_MAX = 600;
const TOP_LEVEL =
  /^(package(-lock)?\.json|asconfig\.json|host|policies|native|schemas|test|README\.md|ARCHITECTURE\.md|LICENSE|biome\.json|tsconfig[\w.]*\.json|\w+\.config\.ts|\..*)$/;
const RESULTS = new Set(['node_modules', 'dist', 'build', 'out', '.cache', '.git']);
const CODE = new Set(['.ts', '.mjs', '.c', '.h', '.cc', '.wit', '.json', '.gyp', '.md', '.py', '.sh', '']);
const THIS_FILE = join('test', 'setup', 'house-style.test.ts');

interface SourceFile {
  path: string;
  text: string;
}

const files: SourceFile[] = readdirSync(ROOT, { withFileTypes: true })
  .filter(({ name }) => !RESULTS.has(name))
  .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(ROOT, entry.name)) : [join(ROOT, entry.name)]))
  .map((path) => relative(ROOT, path))
  .filter((path) => CODE.has(extname(path)) && path !== 'package-lock.json' && path !== 'LICENSE')
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
const written = files.filter(({ path }) => !path.includes('__generated__'));
const typescript = written.filter(({ path }) => path.startsWith('host') && path.endsWith('.ts'));

/** `path:line: text` of every line of `among` that matches. */
function linesMatching(among: readonly SourceFile[], pattern: RegExp): string[] {
  return among.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe('house style', () => {
  it('finds the sources', () => {
    expect(written.length).toBeGreaterThan(20);
    expect(typescript.map(({ path }) => path)).toContain(join('host', 'cli', 'main.ts'));
  });

  it('has nothing at the top level but what belongs there', () => {
    const strangers = readdirSync(ROOT).filter((name) => !RESULTS.has(name) && !TOP_LEVEL.test(name));
    expect(strangers).toEqual([]);
  });

  it(`keeps files within ${FILE_LINES_MAX} lines`, () => {
    const long = written.filter(({ text }) => text.split('\n').length > FILE_LINES_MAX + 1);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  it('keeps generated files in __generated__ folders, each saying what made it', () => {
    const generated = /^\W*(@generated|generated (by|from)|this file is generated)/im;
    const start = ({ text }: SourceFile): string => text.slice(0, 400);
    const strays = written.filter((file) => generated.test(start(file)));
    expect(strays.map(({ path }) => path)).toEqual([]);
    const fenced = files.filter(({ path }) => path.includes('__generated__'));
    const unsigned = fenced.filter((file) => extname(file.path) === '.ts' && !/generated/i.test(start(file)));
    expect(unsigned.map(({ path }) => path)).toEqual([]);
  });

  it('names no folder of the machine that it was written on', () => {
    const elsewhere = files.filter(({ path }) => path !== THIS_FILE);
    expect(linesMatching(elsewhere, /(^|[\s'"`(=:])\/(work|root|home)\//)).toEqual([]);
  });

  it('leaves no work marked as unfinished', () => {
    const elsewhere = written.filter(({ path }) => path !== THIS_FILE);
    expect(linesMatching(elsewhere, /\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
  });

  it('documents every exported function', () => {
    const undocumented = typescript.flatMap(({ path, text }) => {
      const lines = text.split('\n');
      return lines.flatMap((line, index) =>
        /^export (async )?function/.test(line) && !lines[index - 1]?.trimEnd().endsWith('*/')
          ? [`${path}:${index + 1}: ${line}`]
          : [],
      );
    });
    expect(undocumented).toEqual([]);
  });

  it('imports one way: schemas, policy and driver-vm, audit, mediator, setup, guest-vm, serve, cli', () => {
    const ranks = new Map([
      ['policy', 0],
      ['driver-vm', 0],
      ['audit', 0.5],
      ['package', 0.5],
      ['mediator', 1],
      ['setup', 2],
      ['guest-vm', 2.5],
      ['serve', 3],
      ['cli', 4],
    ]);
    const rankOf = (path: string): number => ranks.get(path.split('/')[1] ?? '') ?? -1;
    const upward = typescript.flatMap(({ path, text }) =>
      [...text.matchAll(/from '(\.[^']+)'/g)]
        .map((match) => normalize(join(dirname(path), match[1] ?? '')))
        .filter((target) => rankOf(target) > rankOf(path))
        .map((target) => `${path} imports ${target}`),
    );
    expect(upward).toEqual([]);
  });
});
