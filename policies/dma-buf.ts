/** Descriptors that drivers make and take: shared memory (linux/dma-buf.h), fences (linux/sync_file.h) and their containers. */
import { EINVAL, POLLIN, POLLOUT } from './__generated__/kernel';
import * as b from './__generated__/dma-buf';
import * as s from './__generated__/sync_file';
import { admitted, after, BLOCKING, device, fills, HEAD, hooks, makesDescriptor } from './sdk';
import { NESTED, nestedText, NO_ACCESS, plain, reason, row, SYNC_FILE, takesDescriptor } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('dma-buf');

const LONG_NAME = reason('the name is longer than the kernel takes');
/** DMA_BUF_NAME_LEN of linux/dma-buf.h in the kernel, with the NUL. */
const NAME_BYTES_MAX: u32 = 32;

row('DMA_BUF_IOCTL_SYNC', b.DMA_BUF_IOCTL_SYNC, BLOCKING);
plain('DMA_BUF_SET_NAME_A', b.DMA_BUF_SET_NAME_A, 0, NO_ACCESS, NESTED, name);
plain('DMA_BUF_SET_NAME_B', b.DMA_BUF_SET_NAME_B, 0, NO_ACCESS, NESTED, name);
row('DMA_BUF_IOCTL_EXPORT_SYNC_FILE', b.DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 0, (): void => {
  makesDescriptor(SYNC_FILE, HEAD, b.dma_buf_export_sync_file.fd);
});
row('DMA_BUF_IOCTL_IMPORT_SYNC_FILE', b.DMA_BUF_IOCTL_IMPORT_SYNC_FILE, 0, (): void => {
  takesDescriptor(SYNC_FILE, HEAD, b.dma_buf_import_sync_file.fd);
});
row('SYNC_IOC_MERGE', s.SYNC_IOC_MERGE, 0, (): void => {
  takesDescriptor(SYNC_FILE, HEAD, s.sync_merge_data.fd2);
  makesDescriptor(SYNC_FILE, HEAD, s.sync_merge_data.fence);
});
row('SYNC_IOC_FILE_INFO', s.SYNC_IOC_FILE_INFO, NESTED);
fills(s.sync_file_info.sync_fence_info, s.sync_file_info.num_fences, s.sync_fence_info.SIZE);

/** A file of another kind says by itself that it has no memory, no position or no such command. */
hooks.mmap = admitted;
hooks.seek = admitted;
hooks.settle = (): void => {
  after.watch = POLLIN | POLLOUT;
};

function name(): void {
  nestedText(NAME_BYTES_MAX, EINVAL, LONG_NAME);
}
