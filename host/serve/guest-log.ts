import { Writable } from 'node:stream';
import pino from 'pino';
import type { Channel } from './channel.js';
import type { LogLevel, Reply } from './protocol.js';

/**
 * A log of one guest that goes to the host's own log, and to the command that runs the guest.
 * @param channel undefined: the command does not want it
 */
export function tellsBoth(log: pino.Logger, channel: Channel | undefined): pino.Logger {
  if (channel === undefined) return log;
  const level = log.isLevelEnabled('debug') ? log.level : 'debug';
  const both = new Writable({
    decodeStrings: false,
    write(record: string, _encoding, done) {
      const { level: number, time: _time, msg: text, ...fields } = JSON.parse(record);
      const label = (pino.levels.labels[number as number] ?? 'info') as LogLevel;
      log[label as 'info'](fields, text as string);
      const reply: Reply = { reply: 'log', level: label, fields, text: String(text) };
      channel.send(reply, true);
      done();
    },
  });
  return pino({ level, base: null }, both);
}
