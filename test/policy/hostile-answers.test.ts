import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Exchange } from '../../host/mediator/exchange.js';
import { PolicyFault, PolicyInstance } from '../../host/policy/abi.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { meteredCore } from '../../host/policy/meter.js';
import { answerImages, IMAGE_AT } from './answer-images.js';
import { hostileComponent, hostileCore } from './hostile-module.js';
import { callOf, type Oracle, oracleFor, policyPackage } from './support.js';

/** Of each of the two answers; the seed is fixed, so that every run tries the same. */
const IMAGES = 3000;
const SEED = 20261124;
/** An honest memory is one page, and this module answers from anywhere in it. */
const COPY = `(memory.copy (i32.const ${IMAGE_AT}) (local.get 9) (local.get 10)) (i32.wrap_i64 (local.get 5))`;

/** A module that answers what its caller has put into the head, at the address that is the argument. */
const ECHO = hostileCore({ admit: COPY, complete: COPY });

describe('whatever a module answers', () => {
  let cache: string;
  let metered: WebAssembly.Module;
  let manifest: Manifest;
  let makeOracle: () => Oracle;
  let remove: () => void;

  beforeAll(async () => {
    manifest = (await policyPackage('v4l2')).manifest;
    cache = mkdtempSync(join(tmpdir(), 'postern-metered-'));
    metered = new WebAssembly.Module(await meteredCore(ECHO, cache));
    const oracle = await oracleFor(await hostileComponent(ECHO));
    makeOracle = () => oracle.make(() => new Uint8Array());
    remove = oracle.remove;
  });
  afterAll(() => {
    remove();
    rmSync(cache, { recursive: true });
  });

  it.each(['admit', 'complete'] as const)(
    `${IMAGES} images of a memory, as %s leaves them: a fault of the policy's, or what jco's glue finds there`,
    (method) => {
      const counts = { answered: 0, refused: 0 };
      const exchange = new Exchange();
      let ours = new PolicyInstance(metered, manifest, () => 0);
      let theirs = makeOracle();
      fc.assert(
        fc.property(answerImages(method), ({ at, image }) => {
          const call = callOf({ argument: BigInt(at) });
          const ask = (of: Oracle | PolicyInstance): unknown =>
            method === 'admit' ? of.admit(call, image) : of.complete(call, image, 0n);
          let answer: unknown;
          try {
            answer = ask(ours);
          } catch (error) {
            // Nothing else may come out of the glue: whatever else it is would end the mediator.
            expect(error).toBeInstanceOf(PolicyFault);
            expect(['abi', 'limit', 'trap']).toContain((error as PolicyFault).code);
            counts.refused += 1;
            ours = new PolicyInstance(metered, manifest, () => 0);
            return;
          }
          counts.answered += 1;
          try {
            expect(answer).toEqual(ask(theirs));
          } catch (error) {
            theirs = makeOracle();
            throw error;
          }
          // What passes the glue fits into the memory that the native side reads.
          if (method === 'admit') exchange.writeVerdict(ours.admit(call, image), false);
          else exchange.writeSettlement(ours.complete(call, image, 0n));
        }),
        { numRuns: IMAGES, seed: SEED },
      );
      // A generator whose images are all of one kind would show nothing.
      expect(counts.answered).toBeGreaterThan(IMAGES / 10);
      expect(counts.refused).toBeGreaterThan(IMAGES / 10);
    },
    120_000,
  );
});
