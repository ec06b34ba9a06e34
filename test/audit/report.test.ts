import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoggedDecision } from '../../host/audit/replay.js';
import { type IsolationReport, isolationReport } from '../../host/audit/report.js';
import { escaped, reportHtml } from '../../host/audit/report-html.js';
import { loadVectors } from '../../host/policy/vectors.js';
import { isOnPath } from '../../host/setup/debian-packages.js';
import { policyPackage } from '../policy/support.js';
import { audited } from './broken-modules.js';

/** The browser's window: as wide as a screen, and as a telephone. */
const WIDTHS = [1280, 420];
const HEIGHT = 900;
/** The page's background, as report-style.ts has it. */
const BACKGROUND = { light: [0xfb, 0xfb, 0xf9], dark: [0x14, 0x17, 0x1a] } as const;
const BROWSER_TIMEOUT_MS = 60_000;

let folder: string;
let report: IsolationReport;

const subjectOf = async (name: string): Promise<Parameters<typeof isolationReport>[0][number]> => ({
  policy: await policyPackage(name),
  vectors: loadVectors(name),
  signers: null,
});
const seen = (fields: Partial<LoggedDecision>): LoggedDecision =>
  ({
    kind: 'decision',
    class: 'pty',
    guest: 'a',
    operation: 'ioctl',
    verdict: 'allow',
    ...fields,
  }) as LoggedDecision;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-report-'));
  const lines = [
    seen({ commandNumber: '0x00005414' }),
    seen({ commandNumber: '0x00005412', verdict: 'deny', guest: 'b' }),
    seen({ kind: 'refusal', commandNumber: '0x00005499', verdict: 'deny' }),
  ];
  report = await isolationReport([await subjectOf('pty'), await subjectOf('tun')], lines, ['decisions.log']);
  writeFileSync(join(folder, 'report.html'), reportHtml(report));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('an isolation report', () => {
  it('says what each command may touch, what is refused and why, which handles are isolated and by which test', () => {
    const [pty, tun] = report.classes;
    const command = (name: string) => pty?.commands.find((one) => one.name === name);
    expect(command('TIOCSWINSZ')).toMatchObject({ access: 'to-driver', headBytes: 8, refused: null });
    expect(command('TIOCSTI')?.refused).toMatch(/input/);
    expect(command('TIOCSTI')?.denials[0]?.errno).toBe('EPERM');
    expect(command('TIOCGPTN')?.learns).toHaveLength(1);
    const [table] = pty?.tables ?? [];
    expect(table).toMatchObject({ learntBy: ['TIOCGPTN'], requiredBy: ['open'] });
    expect(table?.vectors[0]).toContain('is opened only by the guest that made it');
    expect(pty?.coverage).toMatchObject({ missing: [] });
    expect(pty?.rules.every(({ result }) => result === 'kept')).toBe(true);
    expect(tun?.tables).toEqual([]);
  });

  it('counts what was seen in a log, what the host refused by itself too', () => {
    const [pty] = report.classes;
    expect(pty?.seen).toEqual({ allowed: 1, denied: 2, dropped: 0, guests: ['a', 'b'] });
    expect(pty?.commands.find(({ name }) => name === 'TIOCSTI')?.seen).toEqual({ allowed: 0, denied: 1 });
  });

  it('takes no signature for somebody’s word that was not verified', async () => {
    const fingerprint = 'ab'.repeat(32);
    const page = async (signers: Parameters<typeof isolationReport>[0][number]['signers']): Promise<string> =>
      reportHtml(await isolationReport([{ ...(await subjectOf('dma-buf')), signers }], undefined, []));
    expect(await page(null)).toContain('it came in no package');
    expect(await page([])).toContain('the package is not signed');
    expect(await page([{ fingerprint, name: 'alice', refusal: null }])).toContain('tag good">✓ alice');
    const stranger = await page([{ fingerprint, name: null, refusal: 'a key <of> nobody' }]);
    expect(stranger).toContain('tag bad">✗ unknown</span> a key &lt;of&gt; nobody');
    expect(stranger).not.toContain('✓ unknown');
  });

  it('shows a rule that is broken, and by what', async () => {
    const broken = audited({ headAccess: 3 });
    const policy = { ...broken, component: 'x', digest: '0'.repeat(64) };
    const html = reportHtml(
      await isolationReport([{ policy, vectors: undefined, signers: null }], undefined, []),
    );
    expect(html).toContain('1 module breaks');
    expect(html).toContain('✗ broken');
    expect(html).toContain(escaped("the head's access is wider than its row's"));
  });

  it('is one page that loads nothing and runs nothing of a module’s', () => {
    const html = readFileSync(join(folder, 'report.html'), 'utf8');
    expect(html).toContain('default-src &#39;none&#39;');
    expect(html).not.toMatch(/\b(?:src|href)="(?!#)/);
    expect(html).not.toMatch(/@import|url\(/);
    const [first] = report.classes;
    if (first === undefined) throw new Error('The report has no class.');
    const hostile = { ...first, class: '<script>alert(1)</script>', name: '"><img src=x>' };
    const spoilt = reportHtml({ ...report, classes: [hostile] });
    expect(spoilt).not.toContain('<script>alert');
    expect(spoilt).not.toContain('<img');
  });
});

/** Runs Chromium on the report; without the sandbox where this is root, which it refuses to be otherwise. */
function browse(parameters: string[], fragment = ''): string {
  const url = pathToFileURL(join(folder, 'report.html')).href + fragment;
  const profile = `--user-data-dir=${join(folder, 'profile')}`;
  const common = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', profile];
  return execFileSync('chromium', [...common, ...parameters, url], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: BROWSER_TIMEOUT_MS,
  });
}

describe.skipIf(!isOnPath('chromium'))(
  'an isolation report in a browser (needs the Debian package chromium)',
  () => {
    it.each(
      (['light', 'dark'] as const).flatMap((scheme) => WIDTHS.map((width) => [scheme, width] as const)),
    )('is drawn in its %s colours, %i pixels wide, within the window', (scheme, width) => {
      const picture = join(folder, `${scheme}-${width}.png`);
      const preferred = `--blink-settings=preferredColorScheme=${scheme === 'dark' ? 0 : 1}`;
      browse([preferred, `--window-size=${width},${HEIGHT}`, `--screenshot=${picture}`]);
      const { data, width: drawn, height } = PNG.sync.read(readFileSync(picture));
      expect([drawn, height]).toEqual([width, HEIGHT]);
      const pixel = (x: number, y: number): number[] => [
        ...data.subarray((y * drawn + x) * 4, (y * drawn + x) * 4 + 3),
      ];
      const rows = Array.from({ length: height }, (_, y) => y);
      // Nothing reaches the edges, and there is something in between.
      for (const x of [1, drawn - 2])
        expect(rows.every((y) => String(pixel(x, y)) === String(BACKGROUND[scheme]))).toBe(true);
      const inside = rows.filter((y) =>
        Array.from({ length: drawn }, (_, x) => x).some(
          (x) => String(pixel(x, y)) !== String(BACKGROUND[scheme]),
        ),
      );
      expect(inside.length).toBeGreaterThan(HEIGHT / 4);
    });

    it('finds commands by what is typed', () => {
      const dom = browse(['--dump-dom'], '#find=eperm+input');
      const shown = [...dom.matchAll(/<tr data-text="([^"]*)"( hidden="")?>/g)].filter(
        ([, , hidden]) => hidden === undefined,
      );
      expect(shown.length).toBeGreaterThan(0);
      for (const [, text] of shown) expect(text).toMatch(/eperm.*input|input.*eperm/);
      expect(shown.some(([, text]) => text?.includes('tiocsti'))).toBe(true);
      expect(dom).toMatch(new RegExp(`id="found"[^>]*>${shown.length} command`));
      expect(dom).toMatch(/<section class="class" id="class-tun"[^>]* hidden=""/);
    });
  },
);
