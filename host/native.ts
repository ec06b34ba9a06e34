/** The native addon, typed. Everything that needs a system call that Node does not offer goes through here. */
import { createRequire } from 'node:module';

export interface NativeAddon {
  /** An anonymous memory file of `bytes` bytes; the descriptor is close-on-exec. Throws with the system's words. */
  memfd(name: string, bytes: number): number;
  /** A connected pair of AF_UNIX stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** An event counter (eventfd), non-blocking, close-on-exec. */
  eventFd(): number;
  closeDescriptor(descriptor: number): void;
}

const require = createRequire(import.meta.url);

/** The addon is found by walking up to the folder that holds `native/`, from the sources as from `dist/`. */
function load(): NativeAddon {
  for (const up of ['..', '../..']) {
    const path = new URL(`${up}/native/build/Release/postern.node`, import.meta.url).pathname;
    try {
      return require(path) as NativeAddon;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error(
    'The native addon is not built: native/build/Release/postern.node is missing. Run `npm run setup`.',
  );
}

export const native: NativeAddon = load();
