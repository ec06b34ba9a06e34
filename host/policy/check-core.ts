import { coreSections, type Limits, memoryLimits, SECTION, tableLimits } from './wasm-sections.js';

/** The world's only import, by its canonical name. */
export const GUEST_MEMORY = 'postern:device/guest-memory@0.2.0';
const ALLOWED_IMPORTS = [`${GUEST_MEMORY} read function`];
const EXPECTED_EXPORTS = [
  'memory memory',
  'cabi_realloc function',
  'describe function',
  'admit function',
  'complete function',
];
/** The module's own initialisation, which the host calls under the same fuel as a decision; it is not a start function. */
const OPTIONAL_EXPORTS = ['_initialize function'];
/** A class has one handler a nested command; this keeps a module from filling the host's memory with a table. */
const TABLE_ENTRIES_MAX = 1024;

/** What a fault is about. */
export type CoreFaultKind = 'invalid' | 'section' | 'start' | 'memory' | 'table' | 'import' | 'export';

/** One thing that makes a core module unfit to be a policy. */
export interface CoreFault {
  kind: CoreFaultKind;
  /** A sentence. */
  message: string;
}

/**
 * What makes a core module unfit to be a policy, in sentences; empty when it is fit.
 * @param memoryPagesMax the manifest's limit, in pages of 64 KiB
 */
export function coreFaults(core: Uint8Array, memoryPagesMax: number): string[] {
  return coreFindings(core, memoryPagesMax).map(({ message }) => message);
}

/** As coreFaults, but says what each fault is about. */
export function coreFindings(core: Uint8Array, memoryPagesMax: number): CoreFault[] {
  if (!WebAssembly.validate(core))
    return [{ kind: 'invalid', message: 'The core module is not valid WebAssembly.' }];
  return [
    ...sectionFaults(core),
    ...memoryFaults(core, memoryPagesMax),
    ...interfaceFaults(new WebAssembly.Module(core)),
  ];
}

function about(kind: CoreFaultKind, messages: readonly string[]): CoreFault[] {
  return messages.map((message) => ({ kind, message }));
}

function sectionFaults(core: Uint8Array): CoreFault[] {
  const sections = coreSections(core);
  const worlds = sections
    .filter(({ name }) => name.startsWith('component-type'))
    .map(({ name }) => `The core module has a section '${name}' of its own, which could declare any import.`);
  const starts = sections
    .filter(({ id }) => id === SECTION.start)
    .map(() => 'The core module has a start function: export _initialize instead, which runs under fuel.');
  return [...about('section', worlds), ...about('start', starts)];
}

function memoryFaults(core: Uint8Array, memoryPagesMax: number): CoreFault[] {
  const sections = coreSections(core);
  const memories = sections.filter(({ id }) => id === SECTION.memory).flatMap(memoryLimits);
  const tables = sections.filter(({ id }) => id === SECTION.table).flatMap(tableLimits);
  const several =
    memories.length === 1 ? [] : [`The core module has ${memories.length} memories, expected one.`];
  return [
    ...about('memory', several),
    ...memories.flatMap((memory) => about('memory', limitFaults('memory', 'pages', memory, memoryPagesMax))),
    ...tables.flatMap((table) => about('table', limitFaults('table', 'entries', table, TABLE_ENTRIES_MAX))),
  ];
}

function limitFaults(what: string, unit: string, { maximum }: Limits, most: number): string[] {
  if (maximum === undefined) return [`The ${what} declares no maximum, expected at most ${most} ${unit}.`];
  return maximum <= most ? [] : [`The ${what} may grow to ${maximum} ${unit}, expected at most ${most}.`];
}

function interfaceFaults(module: WebAssembly.Module): CoreFault[] {
  const imports = WebAssembly.Module.imports(module).map(
    ({ module, name, kind }) => `${module} ${name} ${kind}`,
  );
  const exports = WebAssembly.Module.exports(module).map(({ name, kind }) => `${name} ${kind}`);
  const known = [...EXPECTED_EXPORTS, ...OPTIONAL_EXPORTS];
  const unknownImports = imports.filter((name) => !ALLOWED_IMPORTS.includes(name));
  const missing = EXPECTED_EXPORTS.filter((name) => !exports.includes(name));
  const unknownExports = exports.filter((name) => !known.includes(name));
  return [
    ...about(
      'import',
      unknownImports.map((name) => `The import '${name}' is not the world's.`),
    ),
    ...about(
      'export',
      missing.map((name) => `The export '${name}' is missing.`),
    ),
    ...about(
      'export',
      unknownExports.map((name) => `The export '${name}' is not the world's.`),
    ),
  ];
}
