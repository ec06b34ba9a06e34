import { processorSeconds } from './process-tree.js';
import { asGuest, besideDriver, numbersAfter, type OnLine } from './programs.js';
import type { Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/** Playing and recording at once, on a sound card of the driver VM: as a guest and beside the driver. */
export interface AudioResult {
  /** How often the card had nothing to play, and how often it had no room to record to, in all rounds. */
  guestUnderruns: number;
  directUnderruns: number;
  guestOverruns: number;
  directOverruns: number;
  /** How long the card took for so much sound: it sets the pace, unless its program can't keep it. */
  soundSeconds: number;
  guestSeconds: number;
  directSeconds: number;
  /** guestSeconds to directSeconds. */
  ratio: number;
  /** Processor time for a second of sound, milliseconds, of everything: the programs, Postern, and QEMU with the driver in it. */
  guestCpuMs: number;
  directCpuMs: number;
  spread: number;
}

const SOUND_SECONDS = 3;
const QUICK_SOUND_SECONDS = 1;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const NS_PER_S = 1e9;
const MS_PER_S = 1000;
const CARD = ['snd/controlC0', 'snd/pcmC0D0p', 'snd/pcmC0D0c', 'snd/timer'];
/** 44100 frames a second: a buffer of 93 ms in four periods, which a music player or a conference would have. */
const FORMAT = '-q -D hw:0,0 -t raw -f cd --period-size=1024 --buffer-size=4096';
/** aplay says `underrun!!!`, arecord `overrun!!!`, once each time, on standard error. */
const SCRIPT = `
export LC_ALL=C HOME=/nonexistent
folder=$(mktemp -d -p /dev/shm) && cd "$folder" || exit 1
trap 'rm -r "$folder"' EXIT
echo begin
began=$(date +%s%N)
arecord ${FORMAT} -d "$1" /dev/null 2>recorded & recorder=$!
aplay ${FORMAT} -d "$1" /dev/zero 2>played; status=$?
wait $recorder && [ $status = 0 ] || { cat recorded played; exit 1; }
echo "took $(($(date +%s%N) - began)) underruns $(grep -c underrun played) overruns $(grep -c overrun recorded)"
`;

interface Run {
  took: number;
  underruns: number;
  overruns: number;
  cpuSeconds: number;
}

/** Runs both ways in turn. */
export async function benchAudio(stage: Stage): Promise<AudioResult> {
  const domain = await stage.vm();
  const soundSeconds = stage.quick ? QUICK_SOUND_SECONDS : SOUND_SECONDS;
  const command = ['/bin/sh', '-c', SCRIPT, 'sh', String(soundSeconds)];
  const devices = CARD.map((name) => ({ name, path: `/dev/${name}` }));
  const runs = await interleave(
    {
      guest: () => timed((onLine) => asGuest(domain, devices, command, { onLine })),
      direct: () => timed((onLine) => besideDriver(domain, command, onLine)),
    },
    stage.quick ? QUICK_ROUNDS : ROUNDS,
    stage.budget,
  );
  const of = (way: 'guest' | 'direct', what: keyof Run) => summarize(runs[way].map((run) => run[what]));
  const sum = (way: 'guest' | 'direct', what: keyof Run) =>
    runs[way].reduce((total, run) => total + run[what], 0);
  const [guest, direct] = [of('guest', 'took'), of('direct', 'took')];
  const cpuMs = (way: 'guest' | 'direct') => (of(way, 'cpuSeconds').median * MS_PER_S) / soundSeconds;
  return {
    guestUnderruns: sum('guest', 'underruns'),
    directUnderruns: sum('direct', 'underruns'),
    guestOverruns: sum('guest', 'overruns'),
    directOverruns: sum('direct', 'overruns'),
    soundSeconds,
    guestSeconds: guest.median / NS_PER_S,
    directSeconds: direct.median / NS_PER_S,
    ratio: guest.median / direct.median,
    guestCpuMs: cpuMs('guest'),
    directCpuMs: cpuMs('direct'),
    spread: Math.max(guest.spread, direct.spread),
  };
}

async function timed(run: (onLine: OnLine) => Promise<string>): Promise<Run> {
  const seconds: number[] = [];
  const output = await run(() => seconds.push(processorSeconds()));
  const [began = Number.NaN, ended = Number.NaN] = seconds;
  return { ...numbersAfter(output, ['took', 'underruns', 'overruns']), cpuSeconds: ended - began };
}
