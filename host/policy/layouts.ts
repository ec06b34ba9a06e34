import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../root.js';
import { LAYOUT_SOURCES, type LayoutSource, NOTED_SOURCES, type NotedSource } from './layout-sources.js';

/** Where the generated layouts live, relative to the repository. */
const OUTPUT_FOLDER = 'policies/__generated__';
const HEADER_PACKAGE = 'linux-libc-dev';
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own way to name a field.
const VERSION_FIELD = '${Version}';
/** Debian keeps the asm headers of each architecture in a folder of its own. */
const INCLUDE_FOLDERS = ['/usr/include', '/usr/include/x86_64-linux-gnu'];

/** A generated file: its path relative to the repository, and what it should hold. */
export interface LayoutFile {
  path: string;
  text: string;
}

/**
 * The layouts that the installed UAPI headers give, by compiling and running a probe against them.
 * @throws Error when there is no C compiler, or a header lacks something named in layout-sources.ts
 */
export function generateLayouts(): LayoutFile[] {
  return [...LAYOUT_SOURCES.map(layoutOf), ...NOTED_SOURCES.map(notedLayoutOf)];
}

function layoutOf(source: LayoutSource): LayoutFile {
  const values = probe(source, namesOf(source));
  const headers = source.headers.map((header) => `<${header}>`).join(', ');
  const origin = [headers, `of ${installedPackageVersion(source.package ?? HEADER_PACKAGE)}`];
  const isCommand = commandFilter(source);
  const commands = values.macros.map(([name]) => name).filter(isCommand);
  return {
    path: join(OUTPUT_FOLDER, `${source.name}.ts`),
    text: render(origin, values, source.class === undefined ? [] : commands),
  };
}

/** The layout of a header that is not installed: its facts as they were noted. */
function notedLayoutOf({ name, header, commands, constants, structs }: NotedSource): LayoutFile {
  const bigints = (facts: Readonly<Record<string, number>>): [string, bigint][] =>
    Object.entries(facts).map(([fact, value]) => [fact, BigInt(value)]);
  const values: Values = {
    macros: bigints({ ...commands, ...constants }),
    structs: Object.entries(structs).map(([struct, fields]) => [struct, bigints(fields)]),
  };
  const origin = [header, 'as noted in host/policy/layout-sources.ts'];
  return { path: join(OUTPUT_FOLDER, `${name}.ts`), text: render(origin, values, Object.keys(commands)) };
}

/** The generated files that are missing or whose facts differ from the installed headers', by path. */
export function staleLayouts(): string[] {
  return staleOf(generateLayouts());
}

/** Those of the files whose facts differ from what is in the repository, by path. */
export function staleOf(layouts: LayoutFile[]): string[] {
  return layouts.filter(({ path, text }) => facts(readText(path)) !== facts(text)).map(({ path }) => path);
}

/** The macros of an installed header whose names match, in the header's order. */
export function macrosOf(header: string, pattern: RegExp): string[] {
  const names = [...headerText(header).matchAll(/^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+\S/gm)].map(
    (match) => match[1] as string,
  );
  return [...new Set(names)].filter((name) => pattern.test(name));
}

/**
 * The commands that the installed header of a source defines, by name, in the header's order. One with parameters, such as
 * EVIOCGNAME(len), has the number that it gets with zeroes.
 * @throws Error when the header or a C compiler is missing
 */
export function commandsOf(source: LayoutSource): Map<string, number> {
  const header = source.headers[0] as string;
  const isCommand = commandFilter(source);
  const plain = macrosOf(header, /./).filter(isCommand);
  const defined = headerText(header).matchAll(/^[ \t]*#[ \t]*define[ \t]+(\w+)\(([^)]*)\)/gm);
  const parametric = [...defined].filter(([, name = '']) => isCommand(name));
  const expressions = new Map([
    ...plain.map((name): [string, string] => [name, name]),
    ...parametric.map(([, name = '', parameters = '']): [string, string] => [
      name,
      `${name}(${parameters.replace(/[^,]+/g, '0')})`,
    ]),
  ]);
  const values = run(
    source,
    [...expressions.values()].map((expression) => `(unsigned)(${expression})`),
  );
  return new Map([...expressions.keys()].map((name, index) => [name, Number(values[index])]));
}

function headerText(header: string): string {
  for (const folder of INCLUDE_FOLDERS) {
    const text = readText(join(folder, header), '');
    if (text !== '') return text;
  }
  throw new Error(`No <${header}> below ${INCLUDE_FOLDERS.join(' or ')}: install ${HEADER_PACKAGE}.`);
}

function readText(path: string, base: string = ROOT): string {
  try {
    return readFileSync(base === '' ? path : join(base, path), 'utf8');
  } catch {
    return '';
  }
}

/** The package's version is no fact: newer headers that say the same make nothing stale. */
function facts(text: string): string {
  return text.replace(/^\/\/.*$/gm, '');
}

interface Names {
  /** Plain constants, by the C expressions that give them. */
  macros: [name: string, expression: string][];
  /** Constants and field offsets as C expressions, by the name of the struct they belong to. */
  structs: [struct: string, fields: string[]][];
}

function namesOf(source: LayoutSource): Names {
  const macros = source.macros === undefined ? [] : macrosOf(source.headers[0] as string, source.macros);
  const plain = [...macros, ...(source.constants ?? [])].map((name): [string, string] => [name, name]);
  const expressions = Object.entries(source.expressions ?? {});
  return { macros: [...plain, ...expressions], structs: Object.entries(source.structs ?? {}) };
}

interface Values {
  macros: [name: string, value: bigint][];
  structs: [struct: string, fields: [name: string, value: bigint][]][];
}

/** Compiles one print statement a fact and reads the facts back, in order. */
function probe(source: LayoutSource, names: Names): Values {
  const expressions = [
    ...names.macros.map(([, expression]) => `(unsigned)(${expression})`),
    ...names.structs.flatMap(([struct, fields]) => [
      `sizeof(struct ${struct})`,
      ...fields.map((field) => `offsetof(struct ${struct}, ${field})`),
    ]),
  ];
  const values = run(source, expressions);
  const take = (): bigint => values.shift() as bigint;
  return {
    macros: names.macros.map(([name]) => [name, take()]),
    structs: names.structs.map(([struct, fields]) => [
      struct,
      ['SIZE', ...fields].map((field) => [field.replaceAll('.', '_'), take()]),
    ]),
  };
}

function run(source: LayoutSource, expressions: string[]): bigint[] {
  const program = [
    '#include <stddef.h>',
    '#include <stdio.h>',
    ...source.headers.map((header) => `#include <${header}>`),
    source.declarations ?? '',
    'int main(void) {',
    ...expressions.map((expression) => `  printf("%llu\\n", (unsigned long long)(${expression}));`),
    '  return 0;',
    '}',
  ].join('\n');
  const folder = mkdtempSync(join(tmpdir(), 'postern-layouts-'));
  try {
    writeFileSync(join(folder, 'probe.c'), program);
    execFileSync('cc', ['-o', 'probe', 'probe.c'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const printed = execFileSync(join(folder, 'probe'), { encoding: 'utf8' }).trim().split('\n');
    return printed.map(BigInt);
  } catch (error) {
    const detail = (error as { stderr?: Buffer }).stderr?.toString() ?? (error as Error).message;
    throw new Error(
      `The layout probe for ${source.name} failed against the installed headers (${source.package ?? HEADER_PACKAGE}): ${detail}`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function installedPackageVersion(name: string): string {
  const output = execFileSync('dpkg-query', ['-W', '-f', VERSION_FIELD, name], {
    encoding: 'utf8',
  });
  return `${name} ${output.trim()}`;
}

/** The text of a layout: where its facts are from, the facts, and the names of those that are commands. */
function render(origin: readonly string[], values: Values, commands: readonly string[]): string {
  const lines = [
    `// Generated by host/policy/layouts.ts from ${origin.join('\n// ')}; not edited by hand.`,
    ...values.macros.map(([name, value]) => constant(name, value, commands.includes(name))),
  ];
  for (const [struct, fields] of values.structs) {
    lines.push(`export namespace ${struct} {`);
    lines.push(...fields.map(([name, value]) => `  ${constant(name, value)}`), '}');
  }
  const named = values.macros.filter(([name]) => commands.includes(name));
  return `${[...lines, ...(named.length > 0 ? nameOf(named) : [])].join('\n')}\n`;
}

/** Whether a macro of the source, by its name, is one of the class's commands. */
function commandFilter(source: LayoutSource): (name: string) => boolean {
  const patterns = [source.macros, source.commands].filter((pattern) => pattern !== undefined);
  return (name) => patterns.every((pattern) => pattern.test(name));
}

/** A function from a command's number to its identifier; of several identifiers it has the header's first. */
function nameOf(commands: Values['macros']): string[] {
  const byNumber = new Map([...commands].reverse().map(([name, value]) => [value, name]));
  const cases = [...byNumber.values()].reverse();
  return [
    '/** The identifier of a command, or an empty text. */',
    'export function nameOf(command: u32): string {',
    '  switch (command) {',
    ...cases.flatMap((name) => [`    case ${name}:`, `      return '${name}';`]),
    '  }',
    "  return '';",
    '}',
  ];
}

/** Command numbers are hexadecimal, as the kernel's sources and strace write them. */
function constant(name: string, value: bigint, isCommand = false): string {
  const digits = isCommand || value > 0xffffn ? `0x${value.toString(16)}` : value.toString();
  return `export const ${name}: u32 = ${digits};`;
}

function writeLayouts(): void {
  mkdirSync(join(ROOT, OUTPUT_FOLDER), { recursive: true });
  for (const { path, text } of generateLayouts()) writeFileSync(join(ROOT, path), text);
}

function checkLayouts(): void {
  const stale = staleLayouts();
  for (const path of stale) console.error(`${path} is stale: run 'node dist/host/policy/layouts.js'.`);
  process.exitCode = stale.length === 0 ? 0 : 1;
}

/** `node dist/host/policy/layouts.js [--check]`: writes the layouts, or says which are stale. */
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (process.argv.includes('--check')) checkLayouts();
  else writeLayouts();
}
