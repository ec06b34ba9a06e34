import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../root.js';
import { LAYOUT_SOURCES } from './layout-sources.js';

/** The generated names, relative to the repository. */
export const FIELD_NAMES = 'host/policy/__generated__/field-names.json';
const LAYOUTS = 'policies/__generated__';
const INCLUDE_FOLDERS = ['/usr/include', '/usr/include/x86_64-linux-gnu', '/usr/include/libdrm'];

/** By command, the path of each field that a class looks at, by its offset in the command's argument. */
export type FieldNames = Record<string, Record<string, string>>;

let known: FieldNames | undefined;

/** The path of the field at an offset of a command's argument, such as `v4l2_buffer.m.planes`; undefined where no layout has it. */
export function fieldName(command: string, offset: number): string | undefined {
  known ??= JSON.parse(readFileSync(join(ROOT, FIELD_NAMES), 'utf8')) as FieldNames;
  return known[command]?.[offset];
}

/**
 * The names that the installed headers give: which structure a command has, by its macro's own words (`_IOWR('V', 8, struct …)`), and
 * where that structure's fields are, by the generated layouts.
 */
export function generateFieldNames(): string {
  const names: FieldNames = {};
  for (const { name, headers, structs = {} } of LAYOUT_SOURCES) {
    const layout = readFileSync(join(ROOT, LAYOUTS, `${name}.ts`), 'utf8');
    for (const [command, struct] of structsOfCommands(headers)) {
      const fields = structs[struct];
      if (fields === undefined) continue;
      const offsets = offsetsOf(layout, struct);
      const entries = fields.flatMap((field): [string, string][] => {
        const offset = offsets.get(field.replaceAll('.', '_'));
        return offset === undefined ? [] : [[offset, `${struct}.${field}`]];
      });
      if (entries.length > 0) names[command] = Object.fromEntries(entries);
    }
  }
  return `${JSON.stringify(names, null, 1)}\n`;
}

/** Commands and the structures in their macros, of the first of a source's headers. */
function structsOfCommands(headers: readonly string[]): [command: string, struct: string][] {
  const text = headerText(headers[0] ?? '');
  const macro = /^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+\w*_IO\w*\s*\([^\n]*\bstruct\s+(\w+)\s*\)/gm;
  return [...text.matchAll(macro)].map(([, command = '', struct = '']) => [command, struct]);
}

function headerText(header: string): string {
  for (const folder of INCLUDE_FOLDERS) {
    try {
      return readFileSync(join(folder, header), 'utf8').replaceAll(/\\\n/g, ' ');
    } catch {
      // The next folder may have it.
    }
  }
  return '';
}

function offsetsOf(layout: string, struct: string): Map<string, string> {
  const [, body = ''] = new RegExp(`export namespace ${struct} \\{([^}]*)\\}`).exec(layout) ?? [];
  const constants = [...body.matchAll(/export const (\w+): u32 = (\d+);/g)];
  return new Map(constants.map(([, field = '', offset = '']) => [field, offset]));
}

/** `node dist/host/policy/field-names.js [--check]`: writes the names, or fails when they are stale. */
function main(): void {
  const path = join(ROOT, FIELD_NAMES);
  const names = generateFieldNames();
  if (process.argv.includes('--check')) {
    process.exitCode = readFileSync(path, 'utf8') === names ? 0 : 1;
    return;
  }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, names);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
