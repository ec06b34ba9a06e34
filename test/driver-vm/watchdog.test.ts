import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ControlClient } from '../../host/driver-vm/control-client.js';
import { FRAME, frameOf } from '../../host/driver-vm/frames.js';
import { Watchdog } from '../../host/driver-vm/watchdog.js';

/** Longer than a watchdog takes to ask once, and to wait for the owner of a stream that has ended. */
const ASKED_MS = 4000;

/** A control stream whose agent answers every request with what the test says. */
function agent(answer: () => Buffer | undefined): { control: ControlClient; stream: Duplex } {
  const stream = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      const bytes = answer();
      if (bytes !== undefined) stream.push(bytes);
      done();
    },
  });
  return { control: new ControlClient(stream, () => {}), stream };
}

describe('the watchdog', () => {
  it('gives up a domain whose control stream is broken, and says why', async () => {
    const { control } = agent(() => frameOf(FRAME.devices));
    const reason = await new Promise<string>((resolve) => {
      new Watchdog(control, resolve);
    });
    expect(reason).toMatch(/^it can't be asked any more: The backend agent sent a frame of type \d+/);
  });

  it('leaves alone what answers, and what its owner has ended', async () => {
    const told: string[] = [];
    const alive = agent(() => frameOf(FRAME.ping));
    const ended = agent(() => undefined);
    const watchdogs = [alive, ended].map(({ control }) => new Watchdog(control, (why) => told.push(why)));
    const [first, second] = watchdogs as [Watchdog, Watchdog];
    ended.stream.destroy();
    second.stop();
    await sleep(ASKED_MS);
    first.stop();
    expect(told).toEqual([]);
  });
});
