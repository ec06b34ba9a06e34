/**
 * Installs packages one after the other, telling each sequence number that is in force; for the test that kills it.
 * Arguments: the store, the trust policy, the number of the change to the file system before which it kills itself (0: none), the packages.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { PolicyStore } from '../../host/package/store.js';
import { readTrustPolicy } from '../../host/package/trust.js';

const [folder = '', trustPath = '', step = '0', ...files] = process.argv.slice(2);
const CHANGES = [
  'openSync',
  'writeFileSync',
  'fsyncSync',
  'closeSync',
  'renameSync',
  'mkdirSync',
  'rmSync',
] as const;

/** Whatever the store does to its files goes through these. */
function dieAt(last: number): void {
  let count = 0;
  for (const name of CHANGES) {
    const original = fs[name] as (...parameters: unknown[]) => unknown;
    Object.assign(fs, {
      [name]: (...parameters: unknown[]) => {
        if (++count === last) process.kill(process.pid, 'SIGKILL');
        return original(...parameters);
      },
    });
  }
  syncBuiltinESMExports();
}

const tell = fs.writeSync;
const trust = readTrustPolicy(trustPath);
const packages = files.map((file) => fs.readFileSync(file));
// Whatever is loaded late is loaded now: the steps that are counted are the store's.
const store = new PolicyStore(folder);
await store.inForce();
if (step !== '0') dieAt(Number(step));
for (const file of packages) {
  const { sequence } = await store.install(file, { trust });
  tell(1, `${sequence}\n`);
}
