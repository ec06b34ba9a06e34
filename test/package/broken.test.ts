/** Every kind of broken package is refused with a code of its own, and changes nothing. */
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACKAGE_BYTES_MAX, pack, SIGNATURES_MAX, signatureName } from '../../host/package/archive.js';
import { PACKAGE_ERRORS, PackageError } from '../../host/package/errors.js';
import { TrustPolicy } from '../../host/package/trust.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { assemble, hostileCore, hostileText } from '../policy/hostile-module.js';
import {
  type Attempt,
  alice,
  type Case,
  core,
  entries,
  fileOf,
  folder,
  good,
  json,
  MIB,
  manifest,
  named,
  prepare,
  remove,
  signed,
  store,
  text,
  trust,
} from './broken-kit.js';
import { SIGNATURE_CASES } from './broken-signatures.js';
import { CLASS, entriesOf, having, lacking, newSigner, rawArchive, rsaSigner } from './support.js';

beforeAll(prepare);
afterAll(remove);

const FILE_CASES: Case[] = [
  ['a file that is not there', 'POSTERN_PKG_NOT_A_FILE', () => ({ file: join(folder, 'nothing') })],
  ['a folder', 'POSTERN_PKG_NOT_A_FILE', () => ({ file: folder })],
  [
    'a pipe that nobody writes to',
    'POSTERN_PKG_NOT_A_FILE',
    () => {
      execFileSync('mkfifo', [join(folder, 'pipe')]);
      return { file: join(folder, 'pipe') };
    },
  ],
  [
    'a file of a gigabyte',
    'POSTERN_PKG_TOO_LARGE',
    () => {
      const path = fileOf('large', signed(good));
      truncateSync(path, 1024 * MIB);
      return { file: path };
    },
  ],
  ['more bytes than a package may have', 'POSTERN_PKG_TOO_LARGE', () => Buffer.alloc(PACKAGE_BYTES_MAX + 1)],
  [
    'a member that is too large',
    'POSTERN_PKG_TOO_LARGE',
    () => signed(having(good, 'source.json', Buffer.alloc(MIB))),
  ],
  [
    'a member whose header says eight gigabytes',
    'POSTERN_PKG_TOO_LARGE',
    () => rawArchive([{ header: { path: 'manifest.json', size: 8 * 1024 * MIB } }]),
  ],
  ['a gzipped package', 'POSTERN_PKG_COMPRESSED', () => gzipSync(signed(good))],
  ['a gzip bomb', 'POSTERN_PKG_COMPRESSED', () => gzipSync(Buffer.alloc(64 * MIB))],
  ['a Zstandard frame', 'POSTERN_PKG_COMPRESSED', () => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0])],
  ['an empty file', 'POSTERN_PKG_NOT_AN_ARCHIVE', () => Buffer.alloc(0)],
  ['text', 'POSTERN_PKG_NOT_AN_ARCHIVE', () => Buffer.from('policy\n'.repeat(1000))],
  [
    'a header whose checksum is wrong',
    'POSTERN_PKG_NOT_AN_ARCHIVE',
    () => {
      const file = signed(good);
      file[0] = 'n'.charCodeAt(0);
      return file;
    },
  ],
  ['an archive of nothing', 'POSTERN_PKG_NOT_AN_ARCHIVE', () => Buffer.alloc(1024)],
  [
    'a symbolic link',
    'POSTERN_PKG_MEMBER_TYPE',
    () => entries({ header: { path: 'policy.wasm', type: 'SymbolicLink', linkpath: '/etc/shadow' } }),
  ],
  [
    'a hard link',
    'POSTERN_PKG_MEMBER_TYPE',
    () => entries({ header: { path: 'link', type: 'Link', linkpath: 'manifest.json' } }),
  ],
  [
    'a folder in it',
    'POSTERN_PKG_MEMBER_TYPE',
    () => entries({ header: { path: 'signatures/', type: 'Directory' } }),
  ],
  [
    'a device node in it',
    'POSTERN_PKG_MEMBER_TYPE',
    () => entries({ header: { path: 'mem', type: 'CharacterDevice', devmaj: 1, devmin: 1 } }),
  ],
  [
    'a path that leads out',
    'POSTERN_PKG_MEMBER_UNKNOWN',
    () => entries({ header: { path: '../../etc/cron.d/postern' } }),
  ],
  ['an absolute path', 'POSTERN_PKG_MEMBER_UNKNOWN', () => entries({ header: { path: '/etc/passwd' } })],
  [
    'a member that packages do not have',
    'POSTERN_PKG_MEMBER_UNKNOWN',
    () => entries({ header: { path: 'install.sh' } }),
  ],
  [
    'another way to write a name',
    'POSTERN_PKG_MEMBER_UNKNOWN',
    () => entries({ header: { path: './manifest.json' } }),
  ],
  [
    'a name of the language’s own',
    'POSTERN_PKG_MEMBER_UNKNOWN',
    () => entries({ header: { path: '__proto__' } }),
  ],
  [
    'two members of one name',
    'POSTERN_PKG_MEMBER_DUPLICATE',
    () => entries({ header: { path: 'manifest.json' }, bytes: Buffer.from('{}\n') }),
  ],
  [
    'more signatures than people',
    'POSTERN_PKG_MEMBERS_TOO_MANY',
    () =>
      pack(
        new Map([
          ...good,
          ...Array.from({ length: SIGNATURES_MAX + 1 }, (_, at): [string, Buffer] => [
            signatureName(at.toString(16).padStart(64, '0')),
            Buffer.from('{}\n'),
          ]),
        ]),
      ),
  ],
  ...['manifest.json', 'source.json', 'vectors.json', 'policy.wasm'].map(
    (name): Case => [
      `no ${name}`,
      'POSTERN_PKG_MEMBER_MISSING',
      () => rawArchive(entriesOf(lacking(good, name))),
    ],
  ),
  [
    'bytes behind the end',
    'POSTERN_PKG_NOT_CANONICAL',
    () => Buffer.concat([signed(good), Buffer.alloc(512)]),
  ],
  ['members in another order', 'POSTERN_PKG_NOT_CANONICAL', () => rawArchive(entriesOf(good).reverse())],
  [
    'a member with a date',
    'POSTERN_PKG_NOT_CANONICAL',
    () =>
      rawArchive(
        entriesOf(good).map(({ header, bytes }) => ({ header: { ...header, mtime: new Date(1e12) }, bytes })),
      ),
  ],
  [
    'a member that anybody may run',
    'POSTERN_PKG_NOT_CANONICAL',
    () =>
      rawArchive(
        entriesOf(good).map(({ header, bytes }) => ({ header: { ...header, mode: 0o4755 }, bytes })),
      ),
  ],
  [
    'bytes hidden in the padding',
    'POSTERN_PKG_NOT_CANONICAL',
    () => {
      const file = signed(good);
      file[512 + (good.get('manifest.json') as Buffer).length] = 1;
      return file;
    },
  ],
];

const JSON_CASES: Case[] = [
  [
    'a manifest that is not UTF-8',
    'POSTERN_PKG_NOT_UTF8',
    () => signed(having(good, 'manifest.json', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))),
  ],
  [
    'a manifest that is half there',
    'POSTERN_PKG_NOT_JSON',
    () => text('manifest.json', (all) => all.slice(0, 100)),
  ],
  [
    'NaN as a number',
    'POSTERN_PKG_NOT_JSON',
    () => text('manifest.json', (all) => all.replace('"sequence": 8', '"sequence": NaN')),
  ],
  ['a byte order mark', 'POSTERN_PKG_NOT_JSON', () => text('manifest.json', (all) => `\ufeff${all}`)],
  [
    'JSON that is nested by the hundred thousand',
    'POSTERN_PKG_NOT_JSON',
    () => text('vectors.json', () => '['.repeat(200_000) + ']'.repeat(200_000)),
  ],
  [
    'a key that is there twice',
    'POSTERN_PKG_JSON_NOT_CANONICAL',
    () => text('manifest.json', (all) => all.replace('"sequence": 8,', '"sequence": 8,\n  "sequence": 9,')),
  ],
  [
    'a number in another notation',
    'POSTERN_PKG_JSON_NOT_CANONICAL',
    () => text('manifest.json', (all) => all.replace('"sequence": 8', '"sequence": 8e0')),
  ],
  [
    'vectors without spaces',
    'POSTERN_PKG_JSON_NOT_CANONICAL',
    () => text('vectors.json', (all) => JSON.stringify(JSON.parse(all))),
  ],
  ['a contract of the future', 'POSTERN_PKG_CONTRACT', () => manifest({ contract: '0.3.0' })],
  [
    'a manifest without an envelope',
    'POSTERN_PKG_MANIFEST',
    () => json('manifest.json', ({ envelope: _, ...rest }: Manifest) => rest),
  ],
  ['a manifest that is a list', 'POSTERN_PKG_MANIFEST', () => json('manifest.json', () => [])],
  ['a sequence number of 0', 'POSTERN_PKG_MANIFEST', () => manifest({ sequence: 0 })],
  ['a version that is none', 'POSTERN_PKG_MANIFEST', () => manifest({ version: '1.0' })],
  ['a field that manifests do not have', 'POSTERN_PKG_MANIFEST', () => manifest({ trusted: true })],
  [
    'an envelope without commands',
    'POSTERN_PKG_MANIFEST',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: { ...envelope, commands: undefined },
      })),
  ],
  [
    'limits beyond the schema’s',
    'POSTERN_PKG_MANIFEST',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: { ...envelope, memoryPagesMax: 65536 },
      })),
  ],
  [
    'vectors that are none',
    'POSTERN_PKG_VECTORS',
    () => json('vectors.json', () => ({ class: CLASS, vectors: [{}] })),
  ],
  [
    'vectors of another class',
    'POSTERN_PKG_VECTORS',
    () => json('vectors.json', (value: object) => ({ ...value, class: 'pty' })),
  ],
  ['sources that are none', 'POSTERN_PKG_SOURCE', () => json('source.json', () => ({}))],
  [
    'a source digest that is not the files’',
    'POSTERN_PKG_SOURCE',
    () => json('source.json', (value: object) => ({ ...value, sha256: '00'.repeat(32) })),
  ],
];

const DESCRIBES_NOTHING = { describe: '(i32.const 2048)' };
const SHARED_TABLE = '(table 1 100000 funcref)';

const MODULE_CASES: Case[] = [
  [
    'a core module in place of a component',
    'POSTERN_PKG_NOT_A_COMPONENT',
    () => signed(having(good, 'policy.wasm', Buffer.from(hostileCore({})))),
  ],
  [
    'half a component',
    'POSTERN_PKG_NOT_A_COMPONENT',
    () => signed(having(good, 'policy.wasm', (good.get('policy.wasm') as Buffer).subarray(0, 5000))),
  ],
  [
    'no component at all',
    'POSTERN_PKG_NOT_A_COMPONENT',
    () => signed(having(good, 'policy.wasm', Buffer.alloc(0))),
  ],
  ['a component that exports another name', 'POSTERN_PKG_WORLD', () => named('describe', 'descrybe')],
  [
    'a component for a contract of the future',
    'POSTERN_PKG_WORLD',
    () => named('postern:device/guest-memory@0.2.0', 'postern:device/guest-memory@0.3.0'),
  ],
  [
    'a component that imports sockets',
    'POSTERN_PKG_WORLD',
    () => named('postern:device/guest-memory@0.2.0', 'wasi:sockets/tcp-create-so@0.2.0'),
  ],
  [
    'a core module that is not valid',
    'POSTERN_PKG_CORE_INVALID',
    () => core(hostileCore({}).map((byte, at) => (at > 60 ? byte ^ 0x55 : byte))),
  ],
  [
    'a core module with an import of its own',
    'POSTERN_PKG_CORE_IMPORT',
    () =>
      core(
        assemble(
          hostileText({}).replace(
            '(import',
            '(import "wasi_snapshot_preview1" "fd_write" (func (param i32))) (import',
          ),
        ),
      ),
  ],
  [
    'a core module without complete',
    'POSTERN_PKG_CORE_EXPORT',
    () => core(assemble(hostileText({}).replace('(export "complete")', ''))),
  ],
  [
    'a core module with an export of its own',
    'POSTERN_PKG_CORE_EXPORT',
    () => core(hostileCore({ fields: '(func (export "cabi_post_admit"))' })),
  ],
  [
    'a start function',
    'POSTERN_PKG_CORE_START',
    () => core(hostileCore({ fields: '(func $begin) (start $begin)' })),
  ],
  [
    'a core module that declares a world',
    'POSTERN_PKG_CORE_SECTION',
    () => core(Buffer.concat([hostileCore({}), Buffer.from([0, 15, 14]), Buffer.from('component-type')])),
  ],
  [
    'memory without a maximum',
    'POSTERN_PKG_CORE_MEMORY',
    () => core(hostileCore({ memory: '(memory (export "memory") 1)' })),
  ],
  [
    'memory beyond the manifest’s limit',
    'POSTERN_PKG_CORE_MEMORY',
    () => core(hostileCore({ memory: '(memory (export "memory") 1 4096)' })),
  ],
  [
    'a table that may grow without end',
    'POSTERN_PKG_CORE_TABLE',
    () => core(hostileCore({ fields: '(table 1 funcref)' })),
  ],
  ['a table that is too large', 'POSTERN_PKG_CORE_TABLE', () => core(hostileCore({ fields: SHARED_TABLE }))],
  [
    'vector instructions',
    'POSTERN_PKG_CORE_FEATURE',
    () => core(hostileCore({ admit: '(drop (v128.const i32x4 0 0 0 0)) (i32.const 0)' })),
  ],
  ['tail calls', 'POSTERN_PKG_CORE_FEATURE', () => core(hostileCore({ admit: '(return_call $describe)' }))],
  [
    'a module that traps when asked for its table',
    'POSTERN_PKG_CORE_FAULT',
    () => core(hostileCore({ describe: '(unreachable)' })),
  ],
  [
    'a module that never answers',
    'POSTERN_PKG_CORE_FAULT',
    () => core(hostileCore({ describe: '(loop $again (br $again)) (i32.const 0)' })),
  ],
  [
    'a module whose answer lies outside its memory',
    'POSTERN_PKG_CORE_FAULT',
    () => core(hostileCore({ describe: '(i32.const -16)' })),
  ],
  ['a module of another class', 'POSTERN_PKG_CLASS', () => core(hostileCore(DESCRIBES_NOTHING))],
  [
    'a command that the envelope does not have',
    'POSTERN_PKG_ENVELOPE',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: { ...envelope, commands: envelope.commands?.slice(1) },
      })),
  ],
  [
    'a head that is larger than the envelope’s',
    'POSTERN_PKG_ENVELOPE',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: { ...envelope, argumentBytesMax: 8 },
      })),
  ],
  [
    'a direction that the envelope does not have',
    'POSTERN_PKG_ENVELOPE',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: {
          ...envelope,
          commands: envelope.commands?.map((command) => ({ ...command, access: ['to-driver'] })),
        },
      })),
  ],
  [
    'a type of commands that the envelope does not have',
    'POSTERN_PKG_ENVELOPE',
    () =>
      json('manifest.json', ({ envelope, ...rest }: Manifest) => ({
        ...rest,
        envelope: { ...envelope, ioctlTypes: ['V'] },
      })),
  ],
  [
    'a module that does not do what its vectors say',
    'POSTERN_PKG_VECTORS_FAILED',
    () =>
      json('vectors.json', ({ vectors, ...rest }: { vectors: object[] }) => ({
        ...rest,
        vectors: [
          ...vectors,
          {
            name: 'a wish',
            operation: 'open',
            expect: { deny: { errno: 'EPERM', reason: 'the class does not know this command' } },
          },
        ],
      })),
  ],
];

const STORE_CASES: Case[] = [
  ['an older version', 'POSTERN_PKG_SEQUENCE_OLD', () => manifest({ sequence: 6, version: '0.6.0' })],
  [
    'another package of the same sequence number',
    'POSTERN_PKG_SEQUENCE_REUSED',
    () => manifest({ sequence: 7, version: '0.7.1' }),
  ],
];

const ALL_CASES = [...FILE_CASES, ...JSON_CASES, ...MODULE_CASES, ...SIGNATURE_CASES, ...STORE_CASES];

/** The code of the refusal. */
async function refusalOf(made: Attempt | Buffer): Promise<string> {
  const { file, options } = Buffer.isBuffer(made) ? { file: made, options: {} } : { options: {}, ...made };
  try {
    await store.install(file, { trust, ...options });
    return 'installed';
  } catch (error) {
    if (error instanceof PackageError) return error.code;
    throw error;
  }
}

describe('a package', () => {
  it.each(ALL_CASES)('that is %s is refused by %s', async (_kind, code, make) => {
    const before = readFileSync(join(store.folder, 'state.json'));
    expect(await refusalOf(make())).toBe(code);
    expect(readFileSync(join(store.folder, 'state.json'))).toEqual(before);
  });

  it('that is cut off anywhere is refused', async () => {
    const file = signed(good);
    const codes = new Set<string>();
    // Every section's beginning, middle and end: each member's header, its bytes, its padding.
    for (let at = 0; at < file.length; at += 256) codes.add(await refusalOf(file.subarray(0, at)));
    expect([...codes].sort()).toEqual([
      'POSTERN_PKG_MEMBER_MISSING',
      'POSTERN_PKG_NOT_AN_ARCHIVE',
      'POSTERN_PKG_NOT_CANONICAL',
    ]);
  });

  it('is refused for more than forty different reasons, and every code has a case', () => {
    const tried = new Set<string>(ALL_CASES.map(([, code]) => code));
    const elsewhere = ['POSTERN_PKG_KEY_TYPE', 'POSTERN_PKG_QUARANTINED'];
    const codes = Object.keys(PACKAGE_ERRORS).filter((code) => code.startsWith('POSTERN_PKG_'));
    expect([...tried, ...elsewhere].sort()).toEqual(codes.sort());
    expect(tried.size).toBeGreaterThanOrEqual(40);
  });

  it('that is good is installed all the same', async () => {
    expect(await refusalOf(signed(good))).toBe('installed');
    expect(
      (await store.inForce()).policies.find(({ manifest: { name } }) => name === CLASS)?.entry?.signers,
    ).toEqual(['alice', 'bob']);
  });
});

describe('a trust policy', () => {
  const policyOf =
    (keys: object, classes: object): (() => TrustPolicy) =>
    () =>
      new TrustPolicy({ keys, classes }, 'trust.json');
  const one = { [CLASS]: { keys: ['a'], threshold: 1 } };
  it.each([
    ['an RSA key', 'POSTERN_PKG_KEY_TYPE', { a: { publicKey: rsaSigner('a').publicKey } }, one],
    ['a P-384 key', 'POSTERN_PKG_KEY_TYPE', { a: { publicKey: newSigner('a', 'P-384').publicKey } }, one],
    [
      'a key that is none',
      'POSTERN_PKG_TRUST',
      { a: { publicKey: `-----BEGIN PUBLIC KEY-----\n${'A'.repeat(64)}\n-----END PUBLIC KEY-----\n` } },
      one,
    ],
    [
      'one key under two names',
      'POSTERN_PKG_TRUST',
      { a: { publicKey: alice.publicKey }, b: { publicKey: alice.publicKey } },
      one,
    ],
    ['a class with a key that is not there', 'POSTERN_PKG_TRUST', { b: { publicKey: alice.publicKey } }, one],
    [
      'a threshold that nobody can reach',
      'POSTERN_PKG_TRUST',
      { a: { publicKey: alice.publicKey } },
      { [CLASS]: { keys: ['a'], threshold: 2 } },
    ],
    [
      'a threshold of 0',
      'POSTERN_PKG_TRUST',
      { a: { publicKey: alice.publicKey } },
      { [CLASS]: { keys: ['a'], threshold: 0 } },
    ],
    [
      'a time that is none',
      'POSTERN_PKG_TRUST',
      { a: { publicKey: alice.publicKey, notAfter: 'soon' } },
      one,
    ],
  ])('with %s is refused by %s', (_what, code, keys, classes) => {
    expect(policyOf(keys, classes)).toThrow(expect.objectContaining({ code }));
  });

  it('says everything that is wrong with it, with the paths', () => {
    expect(policyOf({}, { Media: {} })).toThrow(
      /\/keys must NOT have fewer than 1 properties[\s\S]*\/classes\/Media must have required property 'keys'/,
    );
  });
});
