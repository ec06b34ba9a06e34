import { describe, expect, it } from 'vitest';
import { v4l2Failures, v4l2Totals } from '../../host/cli/compliance-totals.js';

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

describe('v4l2Failures', () => {
  it('names the failed tests', () => {
    expect(v4l2Failures(OUTPUT)).toEqual(['test VIDIOC_G/S_PARM']);
  });
});
