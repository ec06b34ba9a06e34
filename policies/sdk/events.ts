/** The poll events of a file that can be read, and of one that can be written, as drivers answer them together. */
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../__generated__/kernel';

export const READING: u32 = POLLIN | POLLRDNORM;
export const WRITING: u32 = POLLOUT | POLLWRNORM;
