import { createHash } from 'node:crypto';
import type { IsolationReport, ReportedClass, ReportedCommand } from './report.js';
import { SCRIPT, STYLE } from './report-style.js';

/** Text as it is, in HTML and in attributes: reasons and names are a module's own, and a module may be anybody's. */
export function escaped(text: string | number): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return String(text).replace(/[&<>"']/g, (character) => entities[character] as string);
}

/** A report as one page that needs nothing else: it loads nothing, and only its own script may run. */
export function reportHtml(report: IsolationReport): string {
  const scriptHash = createHash('sha256').update(SCRIPT).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${scriptHash}'`;
  const commands = report.classes.reduce((sum, one) => sum + one.commands.length, 0);
  const broken = report.classes.filter(isBroken).length;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">
<title>Postern isolation report</title>
<style>${STYLE}</style>
</head>
<body>
<header class="page">
<h1>Isolation report</h1>
<p class="soft">What guests may do with devices through Postern: ${report.classes.length} ${plural(report.classes.length, 'class', 'classes')}, ${commands} commands and file operations.
${broken === 0 ? 'Every module keeps every isolation rule that it was tried against.' : `<strong>${broken} ${plural(broken, 'module breaks', 'modules break')} an isolation rule.</strong>`}
Made <span class="whole">${escaped(report.time.slice(0, 16).replace('T', ' '))} UTC</span>${report.log.length === 0 ? '' : `, with the log ${report.log.map((file) => `<code>${escaped(file)}</code>`).join(', ')}, whose chain holds`}.</p>
<ul class="overview">${report.classes.map(card).join('')}</ul>
</header>
<main>
<div class="tools" role="search"><label for="filter">Find a command</label>
<input id="filter" type="search" placeholder="name, errno, reason, handle…" autocomplete="off" spellcheck="false">
<span id="found" class="soft" role="status" aria-live="polite"></span></div>
${report.classes.map(classSection).join('\n')}
</main>
<footer><p>Denials, regions and handles are those that the modules’ test vectors show; the vectors were answered by these very modules when this
report was made. Everything that is not listed is denied: a command that a class does not know is ENOTTY. Limits are enforced by the host whatever a module answers.</p></footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function plural(count: number, one: string, many: string): string {
  return count === 1 ? one : many;
}

function isBroken({ rules }: ReportedClass): boolean {
  return rules.some(({ result }) => result === 'broken');
}

function card(one: ReportedClass): string {
  const served = one.commands.filter(({ refused }) => refused === null).length;
  const state = isBroken(one)
    ? '<span class="tag bad">rules broken</span>'
    : '<span class="tag good">rules kept</span>';
  return `<li><a href="#class-${escaped(one.name)}"><strong>${escaped(one.class)}</strong> ${state}<br><span class="soft">${served} served, ${one.commands.length - served} refused by name</span></a></li>`;
}

function classSection(one: ReportedClass): string {
  const name = escaped(one.name);
  return `<section class="class" id="class-${name}" aria-labelledby="title-${name}">
<h2 id="title-${name}">${escaped(one.class)}</h2>
${facts(one)}
<h3>Isolation rules</h3>
${rules(one)}
<h3>Handles</h3>
${handles(one)}
<h3>Commands and file operations</h3>
${commandTable(one)}
<h3>Limits for each guest or operation</h3>
${limits(one)}
</section>`;
}

function facts(one: ReportedClass): string {
  const rows: [string, string][] = [
    ['Devices', one.nodes.map((node) => `<code>${escaped(node)}</code>`).join(', ')],
    ...one.refuses.map(({ pattern, reason }): [string, string] => [
      'Never given',
      `<code>/dev/${escaped(pattern)}</code>: ${escaped(reason)}`,
    ]),
    ['Module', `${escaped(one.name)} ${escaped(one.version)}, sequence ${one.sequence}`],
    ['Digest', `<code class="digest">sha256:${escaped(one.digest)}</code>`],
    ['Signed by', signersText(one)],
    ['Kernel headers', `${escaped(one.uapi)}; ${coverageText(one)}`],
    ['Sharing', escaped(one.sharing)],
    ...(one.seen === null ? [] : [['Seen in the log', seenText(one.seen)] as [string, string]]),
  ];
  return `<dl class="facts">${rows.map(([term, text]) => `<dt>${term}</dt><dd>${text}</dd>`).join('')}</dl>`;
}

/** A signature that nobody has verified is not taken for somebody's word. */
function signersText({ signers }: ReportedClass): string {
  if (signers === null) return '<span class="tag note">nobody</span> it came in no package';
  if (signers.length === 0) return '<span class="tag bad">nobody</span> the package is not signed';
  const told = signers.map(({ fingerprint, name, refusal }) => {
    const tag =
      refusal === null
        ? `<span class="tag good">✓ ${escaped(name ?? '')}</span>`
        : `<span class="tag bad">✗ ${escaped(name ?? 'unknown')}</span> ${escaped(refusal)}`;
    return `${tag} <code class="digest">${escaped(fingerprint)}</code>`;
  });
  return told.join('<br>');
}

function seenText({ allowed, denied, dropped, guests }: NonNullable<ReportedClass['seen']>): string {
  if (allowed + denied === 0) return 'nothing';
  const lost = dropped === 0 ? '' : `; ${dropped} allowed operations of these guests were not logged`;
  return `${allowed} allowed, ${denied} denied, by ${guests.length} ${plural(guests.length, 'guest', 'guests')}${lost}`;
}

function coverageText({ coverage }: ReportedClass): string {
  if ('unknown' in coverage) return `coverage unknown: ${escaped(coverage.unknown)}`;
  const { header, supported, refused, missing } = coverage;
  const total = supported + refused + missing.length;
  const left =
    missing.length === 0 ? '' : ` <span class="tag bad">missing</span> ${escaped(missing.join(', '))}`;
  return `${total - missing.length} of ${total} commands of <code>${escaped(header)}</code> are known${left}`;
}

function rules({ rules: all }: ReportedClass): string {
  const looks = {
    kept: ['good', '✓ kept'],
    broken: ['bad', '✗ broken'],
    unapplied: ['note', 'not applied'],
  } as const;
  const items = all.map(({ title, says, result, checks, findings }) => {
    const [look, word] = looks[result];
    const found = findings
      .map(
        ({ what, command }) =>
          `<li>${command === undefined ? '' : `<code>${escaped(command)}</code>: `}${escaped(what)}</li>`,
      )
      .join('');
    return `<li><span class="tag ${look}">${word}</span> <strong>${escaped(title)}</strong> <span class="soft">${checks}&nbsp;${plural(checks, 'check', 'checks')}</span><p>${escaped(says)}</p>${found === '' ? '' : `<ul class="plain">${found}</ul>`}</li>`;
  });
  return `<ul class="rules">${items.join('')}</ul>`;
}

function handles({ tables }: ReportedClass): string {
  if (tables.length === 0)
    return '<p class="soft">The class has no handles: nothing that one guest could name of another.</p>';
  const rows = tables.map(({ name, learntBy, requiredBy, vectors }) => {
    const tests = vectors.map((vector) => `<li>${escaped(vector)}</li>`).join('');
    return `<tr><th scope="row">${escaped(name)}</th><td>${codes(learntBy)}</td><td>${codes(requiredBy)}</td><td>${tests === '' ? '<span class="tag bad">no test</span>' : `<details><summary>${vectors.length} ${plural(vectors.length, 'test', 'tests')}</summary><ul class="plain">${tests}</ul></details>`}</td></tr>`;
  });
  return `<div class="scroll"><table><thead><tr><th scope="col">Table</th><th scope="col">Given by the driver in</th><th scope="col">Must be the guest’s own in</th><th scope="col">Shown by</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function codes(names: readonly string[]): string {
  return names.length === 0
    ? '<span class="soft">none of its vectors</span>'
    : names.map((name) => `<code>${escaped(name)}</code>`).join(', ');
}

function commandTable({ commands }: ReportedClass): string {
  const withLog = commands.some(({ seen }) => seen !== null);
  const seenHead = withLog ? '<th scope="col">Seen</th>' : '';
  return `<div class="scroll"><table class="commands"><thead><tr><th scope="col">Command</th><th scope="col">Argument</th><th scope="col">May touch besides</th><th scope="col">Denied when</th>${seenHead}</tr></thead><tbody>${commands.map((command) => commandRow(command, withLog)).join('')}</tbody></table></div>`;
}

function commandRow(command: ReportedCommand, withLog: boolean): string {
  const { name, number, refused, denials, seen } = command;
  const text = [
    name,
    number,
    refused ?? '',
    ...denials.flatMap(({ errno, reason }) => [errno, reason]),
    ...command.requires.map(({ table }) => table),
    ...command.learns,
  ];
  const tag = refused === null ? '' : ' <span class="tag bad">refused</span>';
  const seenCell = withLog
    ? `<td data-label="Seen">${seen === null || seen.allowed + seen.denied === 0 ? '' : `${seen.allowed} allowed, ${seen.denied} denied`}</td>`
    : '';
  return `<tr data-text="${escaped(text.join(' ').toLowerCase())}"><th scope="row"><code>${escaped(name)}</code>${tag}${number === '' ? '' : `<br><span class="soft mono">${escaped(number)}</span>`}</th><td data-label="Argument">${argumentText(command)}</td><td data-label="May touch besides">${touches(command)}</td><td data-label="Denied when">${denialList(command)}</td>${seenCell}</tr>`;
}

const WAYS: Readonly<Record<string, string>> = {
  none: 'no bytes',
  'to-driver': 'read by the driver',
  'from-driver': 'written by the driver',
  'to-driver from-driver': 'read and written',
};

function wayText(access: string): string {
  return WAYS[access] ?? `${WAYS[access.replace(' from-driver-on-error', '')] ?? access}, also on error`;
}

function argumentText({ number, access, headBytes, refused }: ReportedCommand): string {
  if (refused !== null) return '<span class="soft">nothing</span>';
  if (number === '')
    return access === 'none' ? '<span class="soft">no buffer</span>' : `the buffer, ${wayText(access)}`;
  return headBytes === 0 || access === 'none'
    ? '<span class="soft">a word</span>'
    : `${headBytes === 16383 ? 'as long as asked' : `${headBytes} bytes`}, ${wayText(access)}`;
}

function touches({ regions, nested, requires, learns, descriptors, masks }: ReportedCommand): string {
  const items = [
    ...(nested && regions.length === 0 ? ['nested memory'] : []),
    ...regions
      .slice(0, 4)
      .map(({ length, access }) => `nested memory (in a test ${length} bytes), ${wayText(access)}`),
    ...(regions.length > 4 ? [`${regions.length - 4} regions more`] : []),
    ...descriptors.map((descriptor) => `a descriptor: ${descriptor}`),
    ...requires.map(
      ({ table, errno }) => `only with a handle of its own from “${table}” (else ${errno || 'denied'})`,
    ),
    ...learns.map((table) => `the driver gives a handle: “${table}”`),
    ...(masks > 0 ? [`${masks} ${plural(masks, 'field', 'fields')} of the answer hidden`] : []),
  ];
  return items.length === 0
    ? ''
    : `<ul class="plain">${items.map((item) => `<li>${escaped(item)}</li>`).join('')}</ul>`;
}

function denialList({ refused, denials }: ReportedCommand): string {
  if (refused !== null)
    return `always${denials[0] === undefined ? '' : ` (<code>${escaped(denials[0].errno)}</code>)`}: ${escaped(refused)}`;
  if (denials.length === 0) return '';
  const items = denials.map(
    ({ errno, reason, field, vector }) =>
      `<li title="${escaped(vector)}"><code>${escaped(errno)}</code> ${escaped(reason)}${field === null ? '' : ` <span class="soft mono">${escaped(field)}</span>`}</li>`,
  );
  return `<ul class="plain">${items.join('')}</ul>`;
}

function limits({ envelope }: ReportedClass): string {
  const rows = Object.entries(envelope).map(
    ([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(limitText(value))}</dd></div>`,
  );
  return `<dl class="limits">${rows.join('')}</dl>`;
}

/** A list is told by its elements where they are short, else by how many there are. */
function limitText(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  if (!value.every((one) => typeof one === 'string')) return `${value.length} entries`;
  return value
    .map((one: string) => (/^[!-~]+$/.test(one) ? one : `0x${one.charCodeAt(0).toString(16)}`))
    .join(' ');
}
