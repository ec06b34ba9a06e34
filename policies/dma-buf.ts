/** Descriptors that drivers make and take: shared memory (linux/dma-buf.h), fences (linux/sync_file.h) and their containers. */
import * as b from './__generated__/dma-buf';
import * as s from './__generated__/sync_file';
import { admitted, BLOCKING, commands, device, EINVAL, fills, header, hooks, makesFd, NESTED } from './sdk';
import { nestedText, NO_ACCESS, plain, READING, reason, SYNC_FILE, takesFd, watches, WRITING } from './sdk';
export { admit, cabi_realloc, complete, describe } from './sdk';

device('dma-buf', b.nameOf);
header(s.nameOf);
watches(READING | WRITING);

const LONG_NAME = reason('the name is longer than the kernel takes');
/** DMA_BUF_NAME_LEN of linux/dma-buf.h in the kernel, with the NUL. */
const NAME_BYTES_MAX: u32 = 32;

commands([b.DMA_BUF_IOCTL_SYNC], BLOCKING);
plain(NO_ACCESS, 0, [b.DMA_BUF_SET_NAME_A, b.DMA_BUF_SET_NAME_B], NESTED, name);
commands([b.DMA_BUF_IOCTL_EXPORT_SYNC_FILE]);
makesFd(SYNC_FILE, b.dma_buf_export_sync_file.fd);
commands([b.DMA_BUF_IOCTL_IMPORT_SYNC_FILE]);
takesFd(SYNC_FILE, b.dma_buf_import_sync_file.fd);
commands([s.SYNC_IOC_MERGE]);
takesFd(SYNC_FILE, s.sync_merge_data.fd2);
makesFd(SYNC_FILE, s.sync_merge_data.fence);
commands([s.SYNC_IOC_FILE_INFO]);
fills(s.sync_file_info.sync_fence_info, s.sync_file_info.num_fences, s.sync_fence_info.SIZE);

// A file of another kind says by itself that it has no memory, no position or no such command.
hooks.mmap = admitted;
hooks.seek = admitted;

function name(): void {
  nestedText(NAME_BYTES_MAX, EINVAL, LONG_NAME);
}
