import Table from 'cli-table3';

/** A table without lines, for people: a head, then one row a line. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { head: [], border: [], 'padding-left': 0, 'padding-right': 2 };
  const noLines = Object.fromEntries(LINE_PARTS.map((part) => [part, '']));
  const table = new Table({ head: [...head], style: none, chars: noLines });
  table.push(...rows.map((row) => [...row]));
  const lines = table.toString().split('\n');
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

const LINE_PARTS = [
  ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
  ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
] as const;
