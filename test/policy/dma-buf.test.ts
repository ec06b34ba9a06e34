import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance, Verdict } from '../../host/policy/abi.js';
import * as b from '../../policies/__generated__/dma-buf.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import * as s from '../../policies/__generated__/sync_file.js';
import { bytesWith, callOf, denialOf, memoryOf, planOf, policyInstance } from './support.js';

const NAME = 0x7000_0000n;
let policy: PolicyInstance;

beforeAll(async () => {
  const named = new Uint8Array(4096).fill(0x61, 0, 31);
  const endless = new Uint8Array(4096).fill(0x61);
  policy = await policyInstance(
    'dma-buf',
    memoryOf([
      [NAME, named],
      [NAME + 0x1000n, endless],
    ]),
  );
});

function admit(command: number, values: [number, number | bigint][] = []): Verdict {
  return policy.admit(callOf({ command }), bytesWith((command >>> 16) & 0x3fff, values));
}

describe('a descriptor that a driver made', () => {
  it('begins and ends access by the processor, which may wait for fences', () => {
    const plan = planOf(admit(b.DMA_BUF_IOCTL_SYNC, [[0, 5n]]));
    expect(plan).toMatchObject({ blocking: true, descriptors: [], grants: [] });
  });

  it.each([
    ['EXPORT_SYNC_FILE', b.DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 'from-driver', b.dma_buf_export_sync_file.fd],
    ['IMPORT_SYNC_FILE', b.DMA_BUF_IOCTL_IMPORT_SYNC_FILE, 'to-driver', b.dma_buf_import_sync_file.fd],
  ])('passes a fence: %s', (_name, command, flow, offset) => {
    expect(planOf(admit(command)).descriptors).toMatchObject([
      { kind: 'sync-file', flow, region: 0, offset, width: 4 },
    ]);
  });

  it('merges with another fence into a third', () => {
    expect(planOf(admit(s.SYNC_IOC_MERGE)).descriptors).toMatchObject([
      { kind: 'sync-file', flow: 'to-driver', offset: s.sync_merge_data.fd2 },
      { kind: 'sync-file', flow: 'from-driver', offset: s.sync_merge_data.fence, closeOnExec: true },
    ]);
  });

  it('tells of its fences, first how many and then which', () => {
    expect(planOf(admit(s.SYNC_IOC_FILE_INFO)).grants).toEqual([]);
    const two: [number, number | bigint][] = [
      [s.sync_file_info.num_fences, 2],
      [s.sync_file_info.sync_fence_info, NAME],
    ];
    expect(planOf(admit(s.SYNC_IOC_FILE_INFO, two)).grants).toMatchObject([
      { address: NAME, length: 2 * s.sync_fence_info.SIZE },
    ]);
    const many: [number, number | bigint][] = [
      [s.sync_file_info.num_fences, 0xffffffff],
      [s.sync_file_info.sync_fence_info, NAME],
    ];
    expect(denialOf(admit(s.SYNC_IOC_FILE_INFO, many)).errno).toBe(kernel.EINVAL);
  });

  it('has a name of 32 bytes at most', () => {
    for (const command of [b.DMA_BUF_SET_NAME_A, b.DMA_BUF_SET_NAME_B]) {
      const named = planOf(policy.admit(callOf({ command, argument: NAME }), new Uint8Array()));
      expect(named.grants).toMatchObject([{ address: NAME, length: 32 }]);
      const endless = policy.admit(callOf({ command, argument: NAME + 0x1000n }), new Uint8Array());
      expect(denialOf(endless).errno).toBe(kernel.EINVAL);
    }
  });

  it('is mapped and sought in, and neither read nor written nor opened by a name', () => {
    const admitted = (operation: 'mmap' | 'seek' | 'read' | 'write'): Verdict =>
      policy.admit(callOf({ operation, length: 4096n }), new Uint8Array());
    for (const operation of ['mmap', 'seek'] as const) planOf(admitted(operation));
    for (const operation of ['read', 'write'] as const)
      expect(denialOf(admitted(operation)).errno).toBe(kernel.EINVAL);
  });

  it('is ready as its fences are', () => {
    const { watch } = policy.complete(callOf({ operation: 'seek' }), new Uint8Array(), 0n);
    expect(watch & (kernel.POLLIN | kernel.POLLOUT)).toBe(kernel.POLLIN | kernel.POLLOUT);
  });
});
