import { describe, expect, it } from 'vitest';
import { parseDevice } from '../../host/cli/device-option.js';

describe('--device', () => {
  it('stands for the same path where none is given', () => {
    expect(parseDevice('video0')).toEqual([{ name: 'video0', path: '/dev/video0' }]);
    expect(parseDevice('snd/pcmC0D0p')).toEqual([{ name: 'snd/pcmC0D0p', path: '/dev/snd/pcmC0D0p' }]);
  });

  it('adds to those before it', () => {
    const first = parseDevice('video0');
    expect(parseDevice('video1=/dev/camera', first)).toEqual([
      ...first,
      { name: 'video1', path: '/dev/camera' },
    ]);
  });

  it.each(['', '/dev/video0', '../mem', 'snd/../mem', 'a//b', '.', 'video 0', 'a/'])(
    'refuses the name %j',
    (name) => {
      expect(() => parseDevice(name)).toThrow('is not a device name');
    },
  );

  it.each(['/etc/passwd', '/dev/', '/dev/../etc/passwd', 'camera', ''])('refuses the path %j', (path) => {
    expect(() => parseDevice(`video0=${path}`)).toThrow('is not a path below /dev');
  });

  it('refuses two devices at one path', () => {
    expect(() => parseDevice('video1=/dev/video0', parseDevice('video0'))).toThrow(
      '/dev/video0 is given twice',
    );
  });
});
