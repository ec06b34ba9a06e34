import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A collection takes some tens of milliseconds of a thread that no guest waits for, and a module some tens of KiB. */
const MODULES_A_COLLECTION = 64;

/**
 * Collects the main thread's garbage. Compiled code is small to V8 and not to the machine: without this, the modules of hundreds of
 * exchanges would wait for a collection.
 */
export class Garbage {
  readonly #collect: () => void;
  #modules = 0;

  constructor() {
    // Workers that begin from here on have `gc` too. This thread's context was made before: a new one has it.
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
  }

  /** One more module has been given up. */
  add(): void {
    if (++this.#modules % MODULES_A_COLLECTION === 0) this.#collect();
  }
}
