import { describe, expect, it } from 'vitest';
import { UntrustedLog } from '../../host/driver-vm/untrusted-log.js';

function logOf(...chunks: string[]): string[] {
  const lines: string[] = [];
  const log = new UntrustedLog((line) => lines.push(line), 'agent');
  for (const chunk of chunks) log.push(Buffer.from(chunk, 'latin1'));
  return lines;
}

describe('the log of an untrusted writer', () => {
  it('is passed on line by line, however it is cut', () => {
    expect(logOf('one\ntw', 'o\n', '\nthree')).toEqual(['agent: one', 'agent: two']);
  });

  it('loses its control characters', () => {
    expect(logOf('\x1b[2Jhello\x07\r\n')).toEqual(['agent: [2Jhello']);
  });

  it('is cut when it is long', () => {
    const [line] = logOf('x'.repeat(10_000), '\n');
    expect(line?.length).toBe('agent: '.length + 512);
  });

  it('is cut when it is a flood, and says so', () => {
    const lines = logOf('x\n'.repeat(10_000));
    // The flood may lie on the border of two seconds.
    expect(lines.length).toBeLessThanOrEqual(200);
    expect(lines[99]).toMatch('too many lines');
  });
});
