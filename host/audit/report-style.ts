/** The looks of an isolation report: light and dark, for screens and paper. */
export const STYLE = `
:root { color-scheme: light dark; --back: #fbfbf9; --card: #fff; --ink: #1c2024; --soft: #5c6670; --line: #dfe3e6; --accent: #1f5fa8;
  --good: #17703f; --good-back: #e4f4ea; --bad: #a52a22; --bad-back: #fdeae8; --note: #7a5200; --note-back: #fbf1da; --code: #f1f3f4; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --card: #1b1f23; --ink: #e7eaed; --soft: #9aa5b0; --line: #30363c;
  --accent: #7fb4f0; --good: #7fd3a0; --good-back: #17301f; --bad: #ff9d94; --bad-back: #3a1b19; --note: #f0c874; --note-back: #33280f; --code: #23282d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; }
main, header.page, footer { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header.page { padding-top: 2.5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.45rem; margin: 0; }
h3 { font-size: 1rem; margin: 1.8rem 0 .6rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.soft { color: var(--soft); }
a { color: var(--accent); }
code, .mono { font-family: ui-monospace, "Liberation Mono", "DejaVu Sans Mono", monospace; font-size: .86em; }
.digest { overflow-wrap: anywhere; }
.tools { position: sticky; top: 0; z-index: 1; background: var(--back); border-bottom: 1px solid var(--line); padding: .7rem 0; margin: 1rem 0 1.5rem;
  display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: center; }
.tools label { font-weight: 600; }
input[type=search] { flex: 1 1 16rem; min-width: 0; font: inherit; padding: .4rem .7rem; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .45rem; }
#found:empty { display: none; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.overview { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; padding: 0; list-style: none; margin: 1.2rem 0; }
.overview a { display: block; height: 100%; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; color: inherit; text-decoration: none; }
.overview a:hover { border-color: var(--accent); }
.overview strong { font-size: 1.1rem; }
section.class { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1.4rem 1.5rem; margin: 0 0 1.6rem; scroll-margin-top: 4.5rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .8rem 0 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; min-width: 0; }
.rules { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .5rem; list-style: none; padding: 0; margin: 0; }
.rules li { border: 1px solid var(--line); border-radius: .5rem; padding: .45rem .7rem; font-size: .92rem; }
.rules p { margin: .1rem 0 0; font-size: .85rem; color: var(--soft); }
.tag { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .8rem; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); background: var(--good-back); } .bad { color: var(--bad); background: var(--bad-back); } .note { color: var(--note); background: var(--note-back); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: .84rem; }
tbody tr:last-child > * { border-bottom: 0; }
th[scope=row] { font-weight: 600; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
details summary { cursor: pointer; color: var(--accent); }
ul.plain { margin: .2rem 0; padding-left: 1.1rem; }
.limits { columns: 17rem; column-gap: 2rem; margin: 0; font-size: .92rem; }
.limits div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); padding: .2rem 0; break-inside: avoid; }
.limits dd { margin: 0; font-variant-numeric: tabular-nums; }
footer { padding-bottom: 3rem; color: var(--soft); font-size: .9rem; }
.whole { white-space: nowrap; }
[hidden] { display: none !important; }
@media (max-width: 44rem) {
  section.class { padding: 1rem; } .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .5rem; }
  table.commands thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table.commands, table.commands tbody, table.commands tr, table.commands th, table.commands td { display: block; width: 100%; border: 0; padding: .1rem 0; }
  table.commands th[scope=row] { white-space: normal; overflow-wrap: anywhere; }
  table.commands tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  table.commands td[data-label]:not(:empty)::before { content: attr(data-label) ": "; color: var(--soft); }
  table.commands td.number { text-align: left; }
}
@media print { .tools, .overview { display: none; } body { background: #fff; font-size: 10pt; } section.class { border: 0; padding: 0; break-before: page; } tr { break-inside: avoid; } }
`;

/** Filters the commands as one types, and opens what is folded for printing. */
export const SCRIPT = `
const field = document.getElementById('filter');
const told = document.getElementById('found');
function filter() {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const section of document.querySelectorAll('section.class')) {
    let here = 0;
    for (const row of section.querySelectorAll('tr[data-text]')) {
      row.hidden = !words.every((word) => row.dataset.text.includes(word));
      if (!row.hidden) here++;
    }
    section.hidden = words.length > 0 && here === 0;
    shown += here;
  }
  told.textContent = words.length === 0 ? '' : shown + (shown === 1 ? ' command' : ' commands');
}
field.addEventListener('input', filter);
const asked = new URLSearchParams(location.hash.slice(1)).get('find');
if (asked) { field.value = asked; filter(); }
addEventListener('beforeprint', () => { for (const each of document.querySelectorAll('details')) each.open = true; });
`;
