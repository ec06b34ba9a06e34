import { existsSync } from 'node:fs';
import { defaultTrustPath } from '../package/locations.js';
import { type ExaminedPackage, examinePackage, openPackage, readPackageFile } from '../package/package.js';
import { type SignatureState, signatureStates } from '../package/signatures.js';
import { sha256 } from '../package/statement.js';
import { readTrustPolicy, TrustPolicy } from '../package/trust.js';
import { componentWorld } from '../policy/check-component.js';
import { accessNames, hexadecimal } from '../policy/command-envelope.js';
import type { Envelope } from '../policy/manifest.js';
import { coreSections, memoryLimits, SECTION } from '../policy/wasm-sections.js';
import { printJson, refusing } from './refusal.js';
import { renderTable } from './table.js';

const KIB = 1024;
/** A page of WebAssembly. */
const PAGE_KIB = 64;

/** What a package is and permits, for showing. */
interface Inspection {
  file: string;
  package: ExaminedPackage;
  signatures: SignatureState[];
  /** Undefined: there is no trust policy to verify by. */
  trust: string | undefined;
}

/** `postern policy inspect`. */
export async function inspectPackage(
  file: string,
  options: { trust?: string; json?: boolean },
): Promise<void> {
  await refusing(options.json, async () => {
    const trustPath = options.trust ?? (existsSync(defaultTrustPath()) ? defaultTrustPath() : undefined);
    const trust = trustPath === undefined ? TrustPolicy.nobody() : readTrustPolicy(trustPath);
    const opened = openPackage(readPackageFile(file));
    const signatures = signatureStates(opened.members, opened.manifest.class, trust, new Date());
    const inspection = { file, package: await examinePackage(opened), signatures, trust: trustPath };
    if (options.json) printJson(asJson(inspection));
    else process.stdout.write(asText(inspection));
  });
}

function worldOf({ component, core }: ExaminedPackage): {
  imports: string[];
  exports: string[];
  memoryPagesMax: number | undefined;
} {
  const { imports, exports } = componentWorld(component);
  const [memory] = coreSections(core)
    .filter(({ id }) => id === SECTION.memory)
    .flatMap(memoryLimits);
  return { imports, exports, memoryPagesMax: memory?.maximum };
}

function asJson({ file, package: examined, signatures, trust }: Inspection): object {
  const { manifest, info, fileDigest, contentDigest, digest, source, members, vectors } = examined;
  return {
    file,
    manifest,
    digests: { file: fileDigest, content: contentDigest, component: digest, source: source.sha256 },
    members: [...members].map(([name, bytes]) => ({ name, bytes: bytes.length, sha256: sha256(bytes) })),
    trust: trust ?? null,
    signatures: signatures.map(({ fingerprint, name, refusal }) => ({
      fingerprint,
      name: name ?? null,
      verified: refusal === undefined,
      refusal: refusal ?? null,
    })),
    world: worldOf(examined),
    commands: info.commands.map((command) => ({
      name: command.name,
      number: hexadecimal(command.number),
      mask: hexadecimal(command.mask),
      headBytes: command.head,
      access: accessNames(command.access),
      nested: command.nested,
      refused: command.refused === 0 ? null : (info.reasons[command.refused] ?? ''),
    })),
    tables: info.tables,
    vectors: vectors.vectors.length,
    source,
  };
}

function asText(inspection: Inspection): string {
  const { package: examined } = inspection;
  return [
    summary(inspection),
    signers(inspection),
    nodes(examined),
    limits(examined.manifest.envelope),
    commands(examined),
    refused(examined),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function summary({ file, package: examined }: Inspection): string {
  const { manifest, fileDigest, digest, source, vectors, component, core, info } = examined;
  const { imports, exports, memoryPagesMax } = worldOf(examined);
  const size = (bytes: number): string => `${(bytes / KIB).toFixed(1)} KiB`;
  return renderTable(
    [file, ''],
    [
      ['module', `${manifest.name} ${manifest.version}, sequence ${manifest.sequence}`],
      ['class', manifest.class],
      ['contract', `postern:device@${manifest.contract}`],
      ['kernel headers', manifest.uapi],
      ['sharing', manifest.sharing],
      [
        'if it misbehaves',
        manifest.fallback === 'none' ? 'its operations fail' : 'the version before it judges',
      ],
      ['imports', imports.filter((name) => name.includes('/')).join(', ')],
      ['exports', exports.join(', ')],
      ['memory, at most', `${(memoryPagesMax ?? 0) * PAGE_KIB} KiB`],
      ['component', `${size(component.length)} (core module ${size(core.length)})`],
      ['handle tables', info.tables.join(', ') || 'none'],
      ['test vectors', String(vectors.vectors.length)],
      ['SHA-256 of the file', fileDigest],
      ['of the component', digest],
      ['of the sources', `${source.sha256} (${source.files.length} files)`],
      [
        'built with',
        Object.entries(source.tools)
          .map((tool) => tool.join(' '))
          .join(', '),
      ],
    ],
  );
}

function signers({ signatures, trust }: Inspection): string {
  if (signatures.length === 0) return 'It is not signed.\n';
  const state = ({ refusal }: SignatureState): string =>
    refusal === undefined ? 'good' : `not good: ${refusal.message}`;
  return renderTable(
    ['signed by', 'key', trust === undefined ? 'not verified: there is no trust policy' : `by ${trust}`],
    signatures.map((signature) => [
      signature.name ?? '?',
      signature.fingerprint.slice(0, 16),
      trust === undefined ? '' : state(signature),
    ]),
  );
}

function nodes({ manifest }: ExaminedPackage): string {
  const judged = manifest.nodes.map(({ pattern, descriptor, onRequest }) => [
    pattern === undefined ? `descriptors: ${descriptor}` : `/dev/${pattern}`,
    onRequest ? 'given only on request' : 'judged',
  ]);
  const refusedNodes = (manifest.refuses ?? []).map(({ pattern, reason }) => [
    `/dev/${pattern}`,
    `refused: ${reason}`,
  ]);
  return renderTable(['devices', ''], [...judged, ...refusedNodes]);
}

const LIMITS: readonly (readonly [keyof Envelope, string])[] = [
  ['argumentBytesMax', 'argument head, bytes'],
  ['transferBytesMax', 'one read or write, bytes'],
  ['grantsMax', 'nested regions of an operation'],
  ['grantBytesMax', 'bytes of them together'],
  ['relocationsMax', 'pointers of an operation'],
  ['requirementsMax', 'handles that an operation needs'],
  ['descriptorsMax', 'descriptors that an operation passes'],
  ['sessionsMax', 'open files of a guest'],
  ['operationsInFlightMax', 'operations in flight of a guest'],
  ['mappedPagesMax', 'mapped pages of a guest'],
  ['handlesMax', 'handles of a session'],
  ['decisionFuelMax', 'fuel of a decision'],
  ['memoryPagesMax', 'memory of the module, pages of 64 KiB'],
  ['faultsMax', 'faults until quarantine'],
];

function limits(envelope: Envelope): string {
  const types = envelope.ioctlTypes.map((type) => `0x${type.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return renderTable(
    ['envelope', ''],
    [
      [
        'file operations',
        `${envelope.operations.join(', ')}${envelope.writesJudged ? '; what is written is judged' : ''}`,
      ],
      ['types of commands', types.join(', ') || 'none'],
      ...LIMITS.map(([name, text]) => [text, String(envelope[name] ?? 0)]),
    ],
  );
}

function commands({ info }: ExaminedPackage): string {
  const rows = info.commands
    .filter((command) => command.refused === 0)
    .map(({ name, number, mask, head, access, nested }) => [
      name,
      hexadecimal(number),
      mask === 0xffffffff ? '' : hexadecimal(mask),
      access.toDriver ? `${head}` : '',
      access.fromDriver ? `${head}${access.fromDriverOnError ? ', on error too' : ''}` : '',
      nested ? 'as it asks' : '',
    ]);
  if (rows.length === 0) return 'No command reaches the driver.\n';
  return renderTable(
    ['command', 'number', 'mask', 'copied in, bytes', 'copied out, bytes', 'nested regions'],
    rows,
  );
}

function refused({ info }: ExaminedPackage): string {
  const rows = info.commands
    .filter((command) => command.refused !== 0)
    .map(({ name, number, refused: reason }) => [name, hexadecimal(number), info.reasons[reason] ?? '']);
  return rows.length === 0 ? '' : renderTable(['refused', 'number', 'because'], rows);
}
