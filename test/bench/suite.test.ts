import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fastCheck from 'fast-check';
import { describe, expect, it } from 'vitest';
import { schemaFaults } from '../../host/policy/checked-json.js';
import { ROOT } from '../../host/root.js';
import { Budget } from './budget.js';
import { barChart, lineChart } from './chart.js';
import { charts } from './charts.js';
import { describeMachine } from './machine.js';
import { processorSeconds, treeMemory } from './process-tree.js';
import { numbersAfter } from './programs.js';
import { filesOf, RECORDED, recordedFigures, without } from './record.js';
import { growthOf, type ScaleFigures } from './scale.js';
import { growthExponent, interleave, slope, summarize } from './statistics.js';
import { BUDGETS_S, NAMES } from './suite.js';

const SAMPLES = fastCheck.array(fastCheck.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 1 });

describe('a summary', () => {
  it('has the median, the quartiles’ distance as a share, and the 99th percentile', () => {
    const hundredAndOne = Array.from({ length: 101 }, (_, number) => 100 - number);
    expect(summarize(hundredAndOne)).toEqual({ median: 50, spread: 1, p99: 99 });
    expect(summarize([3])).toEqual({ median: 3, spread: 0, p99: 3 });
    expect(summarize([1, 2]).median).toBe(1.5);
  });

  it('lies within the samples, in whatever order they come', () => {
    fastCheck.assert(
      fastCheck.property(SAMPLES, (samples) => {
        const { median, spread, p99 } = summarize(samples);
        const [least, most] = [Math.min(...samples), Math.max(...samples)];
        expect(median).toBeGreaterThanOrEqual(least);
        expect(p99).toBeGreaterThanOrEqual(median);
        expect(p99).toBeLessThanOrEqual(most);
        expect(spread).toBeGreaterThanOrEqual(0);
        expect(summarize([...samples].reverse())).toEqual({ median, spread, p99 });
      }),
    );
  });

  it('does not change the samples', () => {
    const samples = [3, 1, 2];
    summarize(samples);
    expect(samples).toEqual([3, 1, 2]);
  });
});

describe('growth', () => {
  it('is the slope of the nearest line', () => {
    const line = [1, 2, 3, 10].map((x) => [x, 5 - 2 * x] as const);
    expect(slope(line)).toBeCloseTo(-2);
    // One above and one below by as much change nothing.
    expect(slope([...line, [5.5, -6 + 3], [5.5, -6 - 3]])).toBeCloseTo(-2);
  });

  it.each([0, 0.5, 1, 2])('finds the power %d', (power) => {
    const points = [1, 4, 16, 64].map((x) => [x, 7 * x ** power] as const);
    expect(growthExponent(points)).toBeCloseTo(power);
  });
});

describe('the growth of a host', () => {
  it('is told from the figures by number of guests', () => {
    const of = (guests: number): ScaleFigures => ({
      opsPerSecond: 8000 / guests,
      medianUs: 3 * guests ** 2,
      p99Us: 1,
      costToOne: guests,
      floorOpsPerSecond: 9000 / guests,
      floorCostToOne: guests,
      idleToAlone: 1,
      memoryMbPerGuest: guests === 1 ? 99 : 12,
      memoryMb: { host: 11, guests: 0.5, backends: 0.5 },
      startMs: 1,
      spread: 0,
    });
    const growth = growthOf(Object.fromEntries([1, 4, 16].map((guests) => [guests, of(guests)])));
    expect(growth.opsPerSecond).toBeCloseTo(-1);
    expect(growth.medianUs).toBeCloseTo(2);
    expect(growth.idle).toBeCloseTo(0);
    expect(growth.memoryMb).toBeCloseTo(12);
  });
});

describe('interleaving', () => {
  it('runs each way once a round, and every second round in reverse', async () => {
    const order: string[] = [];
    let count = 0;
    const way = (name: string) => () => {
      order.push(name);
      return count++;
    };
    const samples = await interleave({ a: way('a'), b: way('b'), c: way('c') }, 3);
    expect(order.join('')).toBe('abccbaabc');
    expect(samples).toEqual({ a: [0, 5, 6], b: [1, 4, 7], c: [2, 3, 8] });
  });
});

describe('the budget', () => {
  it('lets rounds begin that would end in time, and always one', async () => {
    const rounds = async (budget: Budget): Promise<number> =>
      (await interleave({ a: () => sleep(20) }, 3, budget)).a.length;
    expect(await rounds(Budget.ofSeconds(-1))).toBe(1);
    expect(await rounds(Budget.ofSeconds(0.005))).toBe(1);
    expect(await rounds(Budget.ofSeconds(3600))).toBe(3);
    expect(await rounds(Budget.UNLIMITED)).toBe(3);
  });

  it('is shared in equal parts, and one that is used up has none', () => {
    const [all, none] = [Budget.ofSeconds(3600), Budget.ofSeconds(-1)];
    expect(all.share(4).allows(1_000_000)).toBe(false);
    expect(all.share(4).allows(800_000)).toBe(true);
    expect(none.share(2).allows(1)).toBe(false);
  });

  it('of all benchmarks is less than what is promised, for a look and for a record', () => {
    const sum = (of: 'full' | 'quick'): number =>
      NAMES.reduce((seconds, name) => seconds + BUDGETS_S[name][of], 0);
    expect(sum('quick')).toBeLessThanOrEqual(45);
    expect(sum('full')).toBeLessThanOrEqual(13 * 60);
  });
});

describe('what is taken of programs', () => {
  it('is the number after a word', () => {
    expect(numbersAfter('begin\nfps 29.5 lost -1 gap99 34', ['fps', 'lost', 'gap99'])).toEqual({
      fps: 29.5,
      lost: -1,
      gap99: 34,
    });
    expect(() => numbersAfter('fps many', ['fps'])).toThrow("no number after 'fps'");
  });

  it('is the processor time of all processes that were started, and their memory', async () => {
    const { spawn } = await import('node:child_process');
    const [secondsBefore, memoryBefore] = [processorSeconds(), treeMemory()];
    const script =
      'const b = Buffer.alloc(64 << 20, 1); const t = Date.now(); while (Date.now() - t < 300); console.log(b.length); setInterval(() => {}, 1e6)';
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      expect(treeMemory().guests - memoryBefore.guests).toBeGreaterThan(64);
      // A loop of so long may get a part of a processor only.
      expect(processorSeconds() - secondsBefore).toBeGreaterThan(0.02);
    } finally {
      child.kill('SIGKILL');
    }
    const running = processorSeconds();
    await new Promise((resolve) => child.once('close', resolve));
    await sleep(0);
    expect(processorSeconds()).toBeGreaterThanOrEqual(running);
  });
});

describe('charts', () => {
  it('draw bars in proportion, escape what they are given, and have colours for dark ground', () => {
    const svg = barChart('<b> & "c"', [
      { label: 'whole', value: 10, text: '10' },
      { label: 'half', value: 5, text: '5', isBaseline: true },
    ]);
    expect(svg).toContain('&lt;b&gt; &amp; &quot;c&quot;');
    expect(svg).not.toContain('<b>');
    expect(svg).toContain('prefers-color-scheme: dark');
    const [whole = 0, half = 0] = [...svg.matchAll(/ width="([\d.]+)" height="14"/g)].map((match) =>
      Number(match[1]),
    );
    expect(whole).toBeCloseTo(2 * half);
  });

  it('draw lines over a logarithmic axis', () => {
    const points = [1, 8, 64].map((x) => [x, 2] as const);
    const svg = lineChart('t', [{ label: 'flat', points, text: '2' }], { x: 'x', y: 'y' });
    const places = [...svg.matchAll(/<circle [^>]*cx="([\d.]+)" cy="([\d.]+)"/g)].map((match) => [
      Number(match[1]),
      Number(match[2]),
    ]);
    const [a, b, c] = places as [number[], number[], number[]];
    expect((c[0] as number) - (b[0] as number)).toBeCloseTo((b[0] as number) - (a[0] as number), 0);
    expect(new Set(places.map(([, y]) => y)).size).toBe(1);
  });
});

describe('the contract of the keys', () => {
  const [machine, moment] = [describeMachine(), { date: new Date().toISOString(), load: 0.5, seconds: 2 }];
  const input = {
    guestUs: 3,
    directUs: 2,
    addedUs: 1,
    ratio: 1.5,
    spread: 0,
    writeUs: { guest: 1, direct: 1 },
    p99: { guest: 4, direct: 3 },
  };
  const faultsOf = (more: object): string[] =>
    schemaFaults({ machine, measured: { input: moment }, input, ...more }, 'bench.schema.json');

  it('takes what a benchmark gives, and benchmarks that it does not know', () => {
    expect(faultsOf({})).toEqual([]);
    expect(faultsOf({ another: { ratio: 1 } })).toEqual([]);
  });

  it('refuses what is missing, what is no number, and what was measured nowhere', () => {
    const { guestUs, ...incomplete } = input;
    expect(faultsOf({ input: incomplete })).toEqual(["/input must have required property 'guestUs'"]);
    expect(faultsOf({ input: { ...input, ratio: Number.NaN } })).toEqual(['/input/ratio must be number']);
    expect(faultsOf({ machine: {} })).toHaveLength(7);
    expect(faultsOf({ stream: { webcam: {} } }).length).toBeGreaterThan(0);
    expect(guestUs).toBe(3);
  });
});

describe('the contract', () => {
  /** The schema of a benchmark's figures: for one with figures by size, batch or number, of each of these. */
  const figuresOf = (name: string): { required: string[] } => {
    const schema = JSON.parse(readFileSync(join(ROOT, 'schemas', 'bench.schema.json'), 'utf8'));
    const found = schema.properties[name] as Fields;
    return Object.values(found.patternProperties ?? {})[0] ?? found;
  };
  interface Fields {
    required: string[];
    patternProperties?: Record<string, { required: string[] }>;
  }

  /** What programs rely on that read `--json`. */
  const RELIED_ON: Readonly<Record<string, readonly string[]>> = {
    noop: [
      'native',
      'floor',
      'floorCopy',
      'transparent',
      'transparentCopy',
      'fastVerdict',
      'fastLocal',
      'vm',
    ],
    decision: ['typicalNs', 'nestedNs', 'cedarNs', 'nativeNs'],
    stream: ['guestFps', 'directFps', 'ratio'],
    packets: ['guest', 'native', 'ratio'],
    start: ['firstFrameSnapshotMs', 'firstFrameColdMs', 'runTrueMs', 'trueMs', 'setupIdleMs'],
    untouched: ['ioRatio', 'compileRatio', 'openUs'],
    scale: ['opsPerSecond', 'medianUs', 'memoryMbPerGuest'],
    reload: ['operations', 'failed', 'longestGapRatio', 'rssSlopeMb'],
  };

  it.each(Object.entries(RELIED_ON))('demands of %s every key that programs rely on', (name, keys) => {
    expect(NAMES).toContain(name);
    expect(figuresOf(name).required).toEqual(expect.arrayContaining([...keys]));
  });
});

describe('the record', () => {
  const figures = recordedFigures();

  it('has figures, of benchmarks that there are', () => {
    expect(Object.keys(figures?.measured ?? {}).length).toBeGreaterThan(0);
    for (const name of Object.keys(figures?.measured ?? {})) {
      expect(NAMES).toContain(name);
      expect(figures).toHaveProperty(name);
    }
  });

  it('of a benchmark that is measured anew need not keep its contract', () => {
    const old = JSON.stringify({
      machine: {},
      measured: { scale: {}, noop: {} },
      scale: { old: 1 },
      noop: {},
    });
    expect(JSON.parse(without(old, ['scale']))).toEqual({ machine: {}, measured: { noop: {} }, noop: {} });
    expect(without('{', ['scale'])).toBe('{');
  });

  it('is what the README and the charts show', () => {
    if (figures === undefined) throw new Error('Nothing is recorded: run `npm run bench -- --record`.');
    for (const [path, content] of Object.entries(filesOf(figures)))
      expect({ path, content: readFileSync(path, 'utf8') }).toEqual({ path, content });
    expect(readdirSync(RECORDED).sort()).toEqual([...Object.keys(charts(figures)), 'figures.json'].sort());
  });

  it('draws charts without holes', () => {
    for (const svg of Object.values(charts(figures ?? {}))) {
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      const opened = [...svg.matchAll(/<(svg|style|text)\b/g)].length;
      expect([...svg.matchAll(/<\/(svg|style|text)>/g)].length).toBe(opened);
    }
  });
});
