import { Writable } from 'node:stream';
import pino from 'pino';

export interface LogOptions {
  /** Print the log on standard error, for people. */
  verbose?: boolean;
  /** Append the log to this file, one JSON object a line. */
  log?: string;
  /** Print errors on standard error, also where it isn't verbose: for what runs unattended. */
  tellErrors?: boolean;
}

/**
 * The log of one command. Without any option nothing is logged and nothing printed.
 * @throws Error when the log file cannot be opened
 */
export function openLog({ verbose, log: file, tellErrors }: LogOptions): pino.Logger {
  const streams: pino.StreamEntry[] = [];
  if (verbose) streams.push({ level: 'debug', stream: peopleStream() });
  else if (tellErrors) streams.push({ level: 'error', stream: peopleStream() });
  if (file !== undefined) streams.push({ level: 'debug', stream: fileStream(file) });
  if (streams.length === 0) return pino({ level: 'silent' });
  return pino({ level: 'debug', base: null }, pino.multistream(streams));
}

/** What guests did is nobody else's business. A file that is there keeps its mode. */
const LOG_MODE = 0o600;

function fileStream(file: string): pino.DestinationStream {
  // Synchronous, so that the last lines are there however the program ends.
  return pino.destination({ dest: file, append: true, mkdir: true, sync: true, mode: LOG_MODE });
}

/** One line of text for each JSON record: what happened, then the rest as name=value. */
function peopleStream(): Writable {
  return new Writable({
    decodeStrings: false,
    write(record: string | Buffer, _encoding, done) {
      const { level, time: _time, msg, ...rest } = JSON.parse(record.toString()) as Record<string, unknown>;
      const label = pino.levels.labels[level as number] ?? 'log';
      const values = Object.entries(rest).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
      process.stderr.write(`postern: ${[label, msg, ...values].join(' ')}\n`);
      done();
    },
  });
}
