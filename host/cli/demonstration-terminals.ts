import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';
import { renderReport } from './report-table.js';
import { runShown, say } from './shown-guest.js';

/** socat makes two pseudo terminals and carries bytes between them; what is written to one is read from the other. */
const SCRIPT = `
folder=$(mktemp -d)
socat PTY,raw,echo=0,link=$folder/left PTY,raw,echo=0,link=$folder/right &
carrier=$!
trap 'kill $carrier; rm -r $folder' EXIT
until [ -e $folder/left ] && [ -e $folder/right ]; do sleep 0.1; done
ls -l $folder /dev/ptmx
head -n 1 $folder/right &
reader=$!
echo 'from one terminal to the other' | tee $folder/left >/dev/null
wait $reader
`;

/** Two programs talk through terminals that only the local driver domain has open. */
export async function showTerminals(domain: DriverDomain, log: pino.Logger): Promise<void> {
  const devices = [{ name: 'ptmx', path: '/dev/ptmx' }];
  const report = await runShown({ domain, log, devices, command: ['sh', '-c', SCRIPT] });
  say(`\n${renderReport(report)}`);
}
