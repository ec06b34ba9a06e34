import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A collection takes some tens of milliseconds of a thread that no guest waits for, and a module some tens of KiB. */
const MODULES_A_COLLECTION = 64;

/**
 * Collects the main thread's garbage. Compiled code is small to V8 and not to the machine: without this, the modules of hundreds of
 * exchanges would wait for a collection.
 */
export class Garbage {
  readonly #collect = collector();
  #modules = 0;

  /** One more module has been given up. */
  add(): void {
    if (++this.#modules % MODULES_A_COLLECTION === 0) this.#collect();
  }
}

/** What collects this thread's garbage. Workers that begin from here on have `gc` too. */
export function collector(): () => void {
  setFlagsFromString('--expose-gc');
  // This thread's context was made before: a new one has it.
  return runInNewContext('gc') as () => void;
}
