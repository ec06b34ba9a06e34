/** The process of reload-host.ts: a host of terminals, which gets versions of their policy and answers with what became of each. */
import { loadPolicies } from '../../host/policy/store.js';
import type { TestedPolicy } from '../../host/serve/prepare.js';
import { TestHost } from '../serve/in-process.js';

const pty = loadPolicies().filter(({ manifest }) => manifest.name === 'pty');
const host = await TestHost.start(pty);
process.on('message', async (version: TestedPolicy) => process.send?.(await host.install(version)));
process.once('disconnect', async () => {
  await host.close();
  process.exit();
});
process.send?.(host.socket);
