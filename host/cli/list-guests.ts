import { askHost } from '../serve/client.js';
import { defaultSocketPath } from '../serve/door.js';
import type { GuestState } from '../serve/protocol.js';
import type { GuestsOptions } from './guests.js';
import { renderTable } from './table.js';

/** Prints the guests of the running host. */
export async function listGuests({ socket, json }: GuestsOptions): Promise<void> {
  const { guests } = await askHost(socket ?? defaultSocketPath(), { request: 'guests' }, 'guests');
  process.stdout.write(json ? `${JSON.stringify(guests, null, 2)}\n` : renderGuests(guests));
}

function renderGuests(guests: readonly GuestState[]): string {
  const rows = guests.map(({ name, pid, seconds, foreground, modules, counters }) => [
    name,
    String(pid),
    `${seconds.toFixed(0)} s`,
    foreground ? 'front' : '',
    modules.map((module) => `${module.class} ${module.version}`).join(', '),
    String(counters.operationsAllowed ?? 0),
    String(counters.operationsDenied ?? 0),
    String(counters.operationsFailed ?? 0),
  ]);
  return renderTable(['guest', 'process', 'for', '', 'policies', 'allowed', 'denied', 'failed'], rows);
}
