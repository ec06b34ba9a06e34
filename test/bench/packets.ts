import { execFileSync } from 'node:child_process';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram, DYNAMICALLY } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { asGuest, numbersAfter } from './programs.js';
import { summarize } from './statistics.js';

/** Packets a second of 1024 bytes, written and read, by batch size: natively, as a guest with the fast frontend, and as a trapped guest. */
export type PacketsResult = Record<
  string,
  { guest: number; trapped: number; native: number; ratio: number; extraUs: number; spread: number }
>;

const BATCHES = [1, 8, 32] as const;
const PACKETS_A_RUN = 40_000;
const QUICK_PACKETS_A_RUN = 3_000;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const TUNNEL = { name: 'net/tun', path: '/dev/net/tun' };
const US_PER_S = 1e6;

/** Runs natively and as a guest in turn, over the local driver domain. */
export async function benchPackets(quick: boolean): Promise<PacketsResult> {
  const program = compileGuestProgram('packets', 'bench', DYNAMICALLY);
  const domain = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
  const result: PacketsResult = {};
  try {
    for (const batch of BATCHES) {
      const rounds = Math.round((quick ? QUICK_PACKETS_A_RUN : PACKETS_A_RUN) / batch);
      const command = [program, `pt${process.pid}`, String(batch), String(rounds)];
      const guest = (fast: boolean) =>
        asGuest(domain, [TUNNEL], command, { fast, networkAdministration: true });
      const ways = {
        native: async () => execFileSync(program, command.slice(1)).toString(),
        guest: () => guest(true),
        trapped: () => guest(false),
      };
      const rates = { native: [] as number[], guest: [] as number[], trapped: [] as number[] };
      for (let round = 0; round < (quick ? QUICK_ROUNDS : ROUNDS); round++)
        for (const way of ['native', 'guest', 'trapped'] as const) {
          const { write, read } = numbersAfter(await ways[way](), ['write', 'read']);
          rates[way].push(2 / (1 / write + 1 / read));
        }
      const [native, fast, trapped] = [
        summarize(rates.native),
        summarize(rates.guest),
        summarize(rates.trapped),
      ];
      result[batch] = {
        guest: fast.median,
        trapped: trapped.median,
        native: native.median,
        ratio: fast.median / native.median,
        extraUs: US_PER_S / fast.median - US_PER_S / native.median,
        spread: Math.max(native.spread, fast.spread),
      };
    }
    return result;
  } finally {
    await closeDomain(domain);
  }
}
