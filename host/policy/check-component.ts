import { componentSections, type Section, type SectionReader, sectionReader } from './wasm-sections.js';

/** Sections of a component's binary that name what crosses its boundary (component-model, Binary.md). */
const COMPONENT_SECTION = { import: 10, export: 11 } as const;
/** The contract's world, by the names that a component has for it: its import, the interface of its types, and those it uses. */
const IMPORTS = [
  ...['postern:device/guest-memory@0.2.0', 'postern:device/types@0.2.0'],
  ...['call', 'verdict', 'settlement', 'class-info'],
];
const EXPORTS = ['admit', 'complete', 'describe'];

/** Tags of an extern description, and of a sort. */
const EXTERN = { coreModule: 0x00, function: 0x01, value: 0x02, type: 0x03, component: 0x04, instance: 0x05 };
const BOUND = { equal: 0x00, subresource: 0x01 };
const SORT_CORE = 0x00;

/**
 * What a component imports and exports, by name.
 * @throws Error when the bytes are no component, or the sections are not readable
 */
export function componentWorld(component: Uint8Array): { imports: string[]; exports: string[] } {
  const sections = componentSections(component);
  return {
    imports: namesIn(sections, COMPONENT_SECTION.import, readImport),
    exports: namesIn(sections, COMPONENT_SECTION.export, readExport),
  };
}

/** In what a component's world is not the contract's, in sentences; empty when it is. */
export function worldFaults(component: Uint8Array): string[] {
  const { imports, exports } = componentWorld(component);
  return [
    ...imports
      .filter((name) => !IMPORTS.includes(name))
      .map((name) => `The component imports '${name}', which is not the contract's.`),
    ...exports
      .filter((name) => !EXPORTS.includes(name))
      .map((name) => `The component exports '${name}', which is not the contract's.`),
    ...EXPORTS.filter((name) => !exports.includes(name)).map(
      (name) => `The component does not export '${name}'.`,
    ),
  ];
}

function namesIn(
  sections: readonly Section[],
  id: number,
  read: (reader: SectionReader) => string,
): string[] {
  return sections
    .filter((section) => section.id === id)
    .flatMap((section) => {
      const reader = sectionReader(section);
      const names = Array.from({ length: boundedCount(reader, section) }, () => read(reader));
      if (!reader.done) throw new Error('A section of the component has bytes after its last entry.');
      return names;
    });
}

/** Every entry has at least one byte: a count beyond the section's bytes is refused before room is made for it. */
function boundedCount(reader: SectionReader, { bytes }: Section): number {
  const count = reader.u32();
  if (count > bytes.length) throw new Error('A section of the component has more entries than bytes.');
  return count;
}

function readImport(reader: SectionReader): string {
  const name = readName(reader);
  skipDescription(reader);
  return name;
}

function readExport(reader: SectionReader): string {
  const name = readName(reader);
  if (reader.byte() === SORT_CORE) reader.byte();
  reader.u32();
  const described = reader.byte();
  if (described > 1) throw new Error(`An export of the component is described by ${described}.`);
  if (described === 1) skipDescription(reader);
  return name;
}

function readName(reader: SectionReader): string {
  const kind = reader.byte();
  if (kind > 1) throw new Error(`A name in the component is of the unknown kind ${kind}.`);
  return Buffer.from(reader.take(reader.u32())).toString('utf8');
}

function skipDescription(reader: SectionReader): void {
  const kind = reader.byte();
  if (kind === EXTERN.coreModule) reader.byte();
  if (kind === EXTERN.value || kind === EXTERN.type) {
    const bound = reader.byte();
    if (bound === BOUND.subresource && kind === EXTERN.type) return;
    if (bound !== BOUND.equal) throw new Error('An import of the component is of an unknown type.');
  }
  if (kind > EXTERN.instance) throw new Error('An import of the component is of an unknown kind.');
  reader.u32();
}
