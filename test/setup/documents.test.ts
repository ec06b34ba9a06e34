import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Envelope, parseManifest } from '../../host/policy/manifest.js';
import { ROOT } from '../../host/root.js';

const DOCUMENTS = ['README.md', 'ARCHITECTURE.md', 'policies/HOWTO_ADD_CLASS.md'];
const POLICIES = join(ROOT, 'policies');
const MANIFEST_ENDING = '.manifest.json';

/** The rows of ARCHITECTURE.md's table of envelopes. */
const ROWS: readonly [string, keyof Envelope][] = [
  ['argument head, bytes', 'argumentBytesMax'],
  ['one read or write, bytes', 'transferBytesMax'],
  ['nested regions of an operation', 'grantsMax'],
  ['bytes of them together', 'grantBytesMax'],
  ['open files', 'sessionsMax'],
  ['operations in flight', 'operationsInFlightMax'],
  ['mapped pages (4 KiB)', 'mappedPagesMax'],
  ['handles', 'handlesMax'],
  ['fuel of a decision', 'decisionFuelMax'],
  ['memory of the module (64 KiB pages)', 'memoryPagesMax'],
  ['faults until quarantine', 'faultsMax'],
];

const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

describe('the documents', () => {
  it.each(DOCUMENTS)('%s names only files that are there', (document) => {
    const named = [...read(document).matchAll(/`((?:host|policies|native|schemas|test)\/[\w./-]+)`/g)];
    expect(named.length).toBeGreaterThan(0);
    expect(named.map((match) => match[1] ?? '').filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('name only attempts that npm run hostile makes', () => {
    const text = read('ARCHITECTURE.md');
    const from = text.indexOf('### What `npm run hostile` tries');
    const table = text
      .slice(from, text.indexOf('\n### ', from + 1))
      .split('\n')
      .filter((line) => line.startsWith('| '));
    const named = table.flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    const folder = join(ROOT, 'test', 'hostile');
    const sources = readdirSync(folder).filter((file) => file.endsWith('.c'));
    const made = new Set(
      sources.flatMap((file) =>
        [...readFileSync(join(folder, file), 'utf8').matchAll(/^\s*\{"([^"]+)",/gm)].map(([, name]) => name),
      ),
    );
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((name) => !made.has(name))).toEqual([]);
  });

  it('have the limits of the manifests', () => {
    const lines = read('ARCHITECTURE.md').split('\n');
    const cells = (line: string): string[] =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim());
    const head = cells(lines.find((line) => line.startsWith('| limit | v4l2 ')) ?? '').slice(1);
    const manifests = readdirSync(POLICIES).filter((file) => file.endsWith(MANIFEST_ENDING));
    expect([...head].sort()).toEqual(manifests.map((file) => file.slice(0, -MANIFEST_ENDING.length)).sort());
    const envelopes = head.map((name) => {
      const path = join(POLICIES, name + MANIFEST_ENDING);
      return parseManifest(readFileSync(path, 'utf8'), path).envelope;
    });
    for (const [label, key] of ROWS) {
      const row = cells(lines.find((line) => line.startsWith(`| ${label} |`)) ?? '').slice(1);
      expect({ label, values: row }).toEqual({
        label,
        values: envelopes.map((envelope) => String(envelope[key])),
      });
    }
  });

  it('name every device class', () => {
    const readme = read('README.md');
    for (const file of readdirSync(POLICIES).filter((name) => name.endsWith(MANIFEST_ENDING)))
      expect(readme).toContain(`| ${file.slice(0, -MANIFEST_ENDING.length)} |`);
  });
});
