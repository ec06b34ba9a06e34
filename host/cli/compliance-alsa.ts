import type { Totals, Verdicts } from './compliance-totals.js';

/** One line a test: its name, then what it said, as a digest where it is long. */
const RESULT = /^test (.+): ((?:OK|FAIL).*)$/gm;

/**
 * What the sound tools say and do on snd-aloop. The payload has no zero bytes, and the silence before it has nothing else, so
 * that what was captured is compared without knowing where in it the payload begins. What comes after it is old.
 */
const SCRIPT = `
export LC_ALL=C HOME=/nonexistent
folder=$(mktemp -d -p /dev/shm) && cd "$folder" || exit 1
trap 'rm -r "$folder"' EXIT
digest() { sha256sum | cut -c1-16; }
say() { # NAME COMMAND...
  name=$1; shift
  if "$@" >said 2>&1; then echo "test $name: OK $(digest <said)"; else echo "test $name: FAIL $(digest <said)"; fi
}
refuses() { # NAME COMMAND...
  name=$1; shift
  if "$@" >said 2>&1; then echo "test $name: FAIL"; else echo "test $name: OK $(digest <said)"; fi
}
round() { # NAME OPTIONS...
  name=$1; shift
  timeout 20 arecord -q "$@" -D hw:0,1 -t raw -d 6 captured 2>heard & recorder=$!
  sleep 2
  timeout 20 aplay -q "$@" -D hw:0,0 -t raw played 2>said; status=$?
  wait $recorder || status=1
  tr -d '\\000' <captured | head -c 192000 | cmp -s - played || status=1
  if [ $status = 0 ]; then echo "test $name: OK"; else echo "test $name: FAIL"; fi
}
seq 100000 140000 | head -c 192000 >played
say 'payload' cat played
say 'aplay -l' aplay -l
say 'arecord -l' arecord -l
say 'aplay --dump-hw-params' aplay -q --dump-hw-params -D hw:0,0 -t raw -f cd -d 1 /dev/zero
say 'amixer info' amixer info
say 'amixer controls' amixer controls
say 'amixer contents' amixer contents
say 'amixer cset' amixer cset numid=1 90000
say 'amixer cget' amixer cget numid=1
say 'amixer cset back' amixer cset numid=1 100000
refuses 'amixer cset beyond' amixer cset numid=999 1
refuses 'no such format' aplay -q -D hw:0,0 -t raw -f MU_LAW played
refuses 'no such device' aplay -q -D hw:0,7 played
round 'round trip, 16 bit stereo' -f S16_LE -c 2 -r 24000
round 'round trip, 32 bit' -f S32_LE -c 1 -r 24000
round 'round trip, float, 4 channels' -f FLOAT_LE -c 4 -r 8000
round 'round trip, mmap' -M -f S16_LE -c 2 -r 24000
round 'round trip, nonblocking' -N -f S16_LE -c 2 -r 24000
say 'speaker-test' sh -c "timeout 30 speaker-test -D hw:0,0 -c 2 -l 1 -t sine >spoken && grep -v '^Time per period' spoken"
`;

/** The command that compares. */
export const ALSA_COMMAND: readonly string[] = ['sh', '-c', SCRIPT];

/** What each of the tests said. */
export function alsaVerdicts(output: string): Verdicts {
  return new Map([...output.matchAll(RESULT)].map(([, test = '', verdict = '']) => [test, verdict]));
}

/**
 * How many tests went well.
 * @throws Error with the end of `output` when the last test is missing
 */
export function alsaTotals(output: string): Totals {
  const verdicts = alsaVerdicts(output);
  if (!verdicts.has('speaker-test'))
    throw new Error(
      `The sound tools did not reach their end. Their output ends with:\n${output.slice(-1000)}`,
    );
  const passed = [...verdicts.values()].filter((verdict) => verdict.startsWith('OK')).length;
  return { passed, failed: verdicts.size - passed };
}
