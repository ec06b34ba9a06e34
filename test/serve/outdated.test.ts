import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PolicyStore } from '../../host/package/store.js';
import { loadPolicies } from '../../host/policy/store.js';
import { StoreSource } from '../../host/serve/source.js';
import { CLASS, goodMembers, newSigner, signedBy, temporaryFolder, trusting } from '../package/support.js';

const alice = newSigner('alice');

describe('a store whose module is older than the one that came with Postern', () => {
  let folder: string;
  let remove: () => void;
  beforeAll(() => {
    ({ folder, remove } = temporaryFolder());
  });
  afterAll(() => remove());

  it('has it judge, and says so once, with the command that takes it back', async () => {
    const builtIn = loadPolicies().find(({ manifest }) => manifest.class === CLASS)?.manifest;
    const trust = join(folder, 'trust.json');
    const classes = { [CLASS]: { keys: ['alice'], threshold: 1 } };
    writeFileSync(trust, JSON.stringify({ keys: { alice: { publicKey: alice.publicKey } }, classes }));
    const older = signedBy(await goodMembers({ sequence: 1, version: '0.0.1' }), alice);
    const store = join(folder, 'store');
    const records: Record<string, unknown>[] = [];
    const log = pino({ level: 'warn' }, { write: (line) => void records.push(JSON.parse(line)) });
    const source = new StoreSource(store, trust, log);
    await new PolicyStore(store).install(older, {
      trust: trusting([alice]),
      allowDowngrade: true,
      why: 'a test',
    });
    for (let time = 0; time < 2; time++) {
      const judging = (await source.inForce()).policies.find(({ manifest }) => manifest.class === CLASS);
      expect(judging?.manifest.version).toBe('0.0.1');
    }
    expect(records).toMatchObject([
      {
        ...{ class: CLASS, inForce: '0.0.1', builtIn: builtIn?.version },
        command: `postern policy rollback ${CLASS} --store ${store}`,
      },
    ]);
  });
});
