import { describe, expect, it } from 'vitest';
import { differencesOf, failTheSame, v4l2Totals, v4l2Verdicts } from '../../host/cli/compliance-totals.js';

const OUTPUT = `v4l2-compliance 1.22.1, 64 bits, 64-bit time_t

Required ioctls:
	test VIDIOC_QUERYCAP: OK

Format ioctls:
		fail: v4l2-test-formats.cpp(1045): node->can_capture
	test VIDIOC_G/S_PARM: FAIL
	test Cropping: OK

Total for vivid device /dev/video0: 113, Succeeded: 112, Failed: 1, Warnings: 6
`;

describe('v4l2Totals', () => {
  it('reads the last line of v4l2-compliance', () => {
    expect(v4l2Totals(OUTPUT)).toEqual({ passed: 112, failed: 1 });
  });

  it('takes the grand total where several nodes were tested', () => {
    const grand = `${OUTPUT}\nGrand Total for vivid device /dev/video0: 226, Succeeded: 224, Failed: 2, Warnings: 12\n`;
    expect(v4l2Totals(grand)).toEqual({ passed: 224, failed: 2 });
  });

  it('refuses output without a total, and shows where it ended', () => {
    expect(() => v4l2Totals('Required ioctls:\nSegmentation fault')).toThrow(
      /did not reach its total.*Segmentation fault/s,
    );
  });
});

describe('v4l2Verdicts', () => {
  it('keeps apart what several sections test under one name, and finds tests behind progress', () => {
    const streaming = 'Test input 0:\n\n\tVideo Capture: Frame #000 (select)\t   \ttest MMAP (select): OK\n';
    expect([...v4l2Verdicts(OUTPUT + streaming)]).toEqual([
      ['Required ioctls: VIDIOC_QUERYCAP', 'OK'],
      ['Format ioctls: VIDIOC_G/S_PARM', 'FAIL'],
      ['Format ioctls: Cropping', 'OK'],
      ['Test input 0: MMAP (select)', 'OK'],
    ]);
  });
});

describe('the comparison', () => {
  const direct = v4l2Verdicts(OUTPUT);

  it('agrees with itself', () => {
    expect(differencesOf(direct, direct)).toEqual([]);
    expect(failTheSame([])).toBe(true);
  });

  it('disagrees when a test fails in one run only', () => {
    const guest = v4l2Verdicts(OUTPUT.replace('test VIDIOC_QUERYCAP: OK', 'test VIDIOC_QUERYCAP: FAIL'));
    const differences = differencesOf(guest, direct);
    expect(differences).toEqual([{ test: 'Required ioctls: VIDIOC_QUERYCAP', guest: 'FAIL', direct: 'OK' }]);
    expect(failTheSame(differences)).toBe(false);
    expect(failTheSame(differencesOf(direct, guest))).toBe(false);
  });

  it('disagrees when a failing test did not run in the other', () => {
    const guest = v4l2Verdicts(OUTPUT.replace('\ttest VIDIOC_G/S_PARM: FAIL\n', ''));
    expect(failTheSame(differencesOf(guest, direct))).toBe(false);
  });

  it('tells a refused facility, and agrees', () => {
    const guest = v4l2Verdicts(OUTPUT.replace('test Cropping: OK', 'test Cropping: OK (Not Supported)'));
    const differences = differencesOf(guest, direct);
    expect(differences).toEqual([
      { test: 'Format ioctls: Cropping', guest: 'OK (Not Supported)', direct: 'OK' },
    ]);
    expect(failTheSame(differences)).toBe(true);
  });
});
