/** A fault put into a source on purpose: `[start, end)` of it becomes `replacement`. */
export interface Mutation {
  /** Where and what was done, unique in its list. */
  name: string;
  /** The line as it becomes (from the first to the last that the fault is in). */
  becomes: string;
  start: number;
  end: number;
  replacement: string;
}

/** A kind of fault: each match of `pattern` becomes each of the replacements ($1 and so on as in String.replace). */
interface Operator {
  name: string;
  pattern: RegExp;
  replacements: readonly string[];
}

/** The faults that a hurried hand makes in a checker: comparisons that are off by one or the wrong way, checks left out, wrong constants. */
const OPERATORS: readonly Operator[] = [
  { name: 'comparison', pattern: / < /g, replacements: [' <= ', ' > '] },
  { name: 'comparison', pattern: / <= /g, replacements: [' < ', ' >= '] },
  { name: 'comparison', pattern: / > /g, replacements: [' >= ', ' < '] },
  { name: 'comparison', pattern: / >= /g, replacements: [' > ', ' < '] },
  { name: 'comparison', pattern: / == /g, replacements: [' != '] },
  // Of unsigned numbers and 0, one of these would say what the original does.
  { name: 'comparison', pattern: / == (?!0)/g, replacements: [' <= ', ' >= '] },
  { name: 'comparison', pattern: / != /g, replacements: [' == '] },
  { name: 'logic', pattern: / && /g, replacements: [' || '] },
  { name: 'logic', pattern: / \|\| /g, replacements: [' && '] },
  { name: 'negation', pattern: /!(?=[a-z])/g, replacements: [''] },
  { name: 'arithmetic', pattern: / - /g, replacements: [' + '] },
  { name: 'arithmetic', pattern: / \+ /g, replacements: [' - '] },
  { name: 'arithmetic', pattern: / \+= /g, replacements: [' = ', ' -= '] },
  { name: 'bits', pattern: / & /g, replacements: [' | '] },
  { name: 'bits', pattern: / \| /g, replacements: [' & '] },
  { name: 'bits', pattern: /~/g, replacements: [''] },
  { name: 'constant', pattern: /(?<=[ (])([048])(?=[);, ])/g, replacements: ['$1 + 1'] },
  { name: 'constant', pattern: /\b1u?(?= <<)/g, replacements: ['2u'] },
  { name: 'index', pattern: / - 1\]/g, replacements: [']'] },
  {
    name: 'check left out',
    pattern: /if \((?=[^;]*?\)\s*return PlanError::)/g,
    replacements: ['if (false && '],
  },
  { name: 'check left out', pattern: /return error;/g, replacements: [';'] },
  {
    name: 'always',
    pattern: /return (?!PlanError|error|region)[^;]* (?:<=|==|!=|&&|\|\|) [^;]*;/g,
    replacements: ['return true;', 'return false;'],
  },
  { name: 'one of two', pattern: /std::min\(([^,()]+), ([^,()]+)\)/g, replacements: ['$1', '$2'] },
  { name: 'wide becomes narrow', pattern: /uint64_t sum/g, replacements: ['uint32_t sum'] },
  { name: 'order', pattern: /std::sort\([^;]*;/g, replacements: [';'] },
  { name: 'loop left early', pattern: /\bcontinue;/g, replacements: ['break;'] },
];

/** Faults that no operator makes, as [what is so, what it becomes]. */
const BY_HAND: readonly (readonly [string, string, string])[] = [
  [
    "the paper's vacuous bound",
    'if (address < kGuestAddressFirst || address >= kGuestAddressEnd) return false;',
    'if (!(address - kGuestAddressFirst >= 0) || address >= kGuestAddressEnd) return false;',
  ],
  [
    "the paper's vacuous bound, at the end",
    'return length <= kGuestAddressEnd - address;',
    'return kGuestAddressEnd - address - length >= 0;',
  ],
  [
    'a sum that overflows',
    'return length <= kGuestAddressEnd - address;',
    'return address + length <= kGuestAddressEnd;',
  ],
  [
    'a sum that overflows, instead of both checks',
    'if (address < kGuestAddressFirst || address >= kGuestAddressEnd) return false;\n  return length <= kGuestAddressEnd - address;',
    'return address >= kGuestAddressFirst && address + length <= kGuestAddressEnd;',
  ],
  [
    'an offset that overflows',
    'return width <= bytes && offset <= bytes - width;',
    'return offset + width <= bytes;',
  ],
  [
    'a width that underflows',
    'return width <= bytes && offset <= bytes - width;',
    'return offset <= bytes - width;',
  ],
  [
    'a vacuous inside',
    'return width <= bytes && offset <= bytes - width;',
    'return width <= bytes && bytes - width - offset >= 0;',
  ],
  [
    'overlap looked for in one order only',
    'std::sort(places.begin(), places.end());',
    'std::reverse(places.begin(), places.end());',
  ],
  [
    'the first grant unchecked',
    'for (const Grant& grant : plan.grants) {',
    'for (size_t g = 1; g < plan.grants.size(); g++) { const Grant& grant = plan.grants[g];',
  ],
  [
    'the last grant unchecked',
    'for (const Grant& grant : plan.grants) {',
    'for (size_t g = 0; g + 1 < plan.grants.size(); g++) { const Grant& grant = plan.grants[g];',
  ],
  [
    'the head for every region',
    'return region == 0 ? context.headBytes : plan.grants[region - 1].length;',
    'return context.headBytes;',
  ],
  ['blocking forgotten', 'plan.blocking = exchange.blocking != 0;', ''],
  ['alone forgotten', 'plan.alone = exchange.alone != 0;', ''],
  ['old forgettings kept', 'plan.forgettings.assign(', 'plan.forgettings.insert(plan.forgettings.end(), '],
  ['head access forgotten', 'plan.headAccess = exchange.headAccess;', 'plan.headAccess = 0;'],
  ['old relocations kept', 'plan.relocations.assign(', 'plan.relocations.insert(plan.relocations.end(), '],
  [
    'old requirements kept',
    'plan.requirements.assign(',
    'plan.requirements.insert(plan.requirements.end(), ',
  ],
];

/** Mutants that behave as the original does: what their line becomes, and why nothing can kill them. */
export const EQUIVALENT: ReadonlyMap<string, string> = new Map([
  [
    'if (source >= kSourceOffset || source == kSourceArgument) return true;',
    'kSourceOffset is the largest number that there is.',
  ],
  [
    'if (source == kSourceOffset || source >= kSourceArgument) return true;',
    'Above kSourceArgument is only kSourceOffset, which passes too.',
  ],
  [
    'const uint32_t widest = context.rowAccess | ((context.rowAccess | kFromDriver) != 0 ? kFromDriverOnError : 0);',
    'Copying out on errors without copying out is no access word, so a row without the latter stays refused.',
  ],
  [
    'const uint32_t widest = context.rowAccess | ((context.rowAccess & kFromDriver) != 0 + 1 ? kFromDriverOnError : 0);',
    'The same.',
  ],
  [
    'if (places[i].first <= places[i - 1].first && places[i].second - places[i - 1].second < kPointerBytes)',
    'The places are sorted by their regions: none is below the one before.',
  ],
]);

/**
 * All mutations of a C++ source.
 * @throws Error when a fault made by hand finds nothing to change: the source has moved on, and the list must follow
 */
export function mutationsOf(source: string): Mutation[] {
  return [...operatorMutations(source), ...clauseMutations(source), ...handMutations(source)];
}

/** The source with one mutation in it. */
export function mutate(source: string, mutation: Mutation): string {
  return source.slice(0, mutation.start) + mutation.replacement + source.slice(mutation.end);
}

function operatorMutations(source: string): Mutation[] {
  return OPERATORS.flatMap(({ name, pattern, replacements }) =>
    [...source.matchAll(pattern)]
      .filter(({ index }) => isCode(source, index))
      .flatMap((match) => replacements.map((replacement) => mutationAt(source, name, match, replacement))),
  );
}

function mutationAt(source: string, name: string, match: RegExpExecArray, replacement: string): Mutation {
  const [text] = match;
  const becomes = replacement.replace(/\$(\d)/g, (_, group) => match[Number(group)] ?? '');
  return mutationOf(
    source,
    `${name}: \`${text.trim()}\` becomes \`${becomes.trim()}\``,
    match.index,
    text,
    becomes,
  );
}

/** Each condition of an && or || left out, the one before the operator and the one behind it. */
function clauseMutations(source: string): Mutation[] {
  return [...source.matchAll(/ (&&|\|\|) /g)].flatMap(({ index, 0: operator }) => {
    if (!isCode(source, index)) return [];
    const end = clauseEnd(source, index + operator.length);
    const start = clauseStart(source, index);
    const behind = source.slice(index, end);
    const before = source.slice(start, index + operator.length);
    return [
      mutationOf(source, `clause left out: \`${behind.trim()}\``, index, behind, ''),
      mutationOf(source, `clause left out: \`${before.trim()}\``, start, before, ''),
    ];
  });
}

/** Where the condition that begins at `index` ends: at the next operator of its own depth, or where its statement or parentheses end. */
function clauseEnd(source: string, index: number): number {
  let depth = 0;
  for (let at = index; at < source.length; at++) {
    if ('([{'.includes(source[at] as string)) depth++;
    else if (')]}'.includes(source[at] as string) && --depth < 0) return at;
    else if (depth === 0 && /^(;| && | \|\| | \? )/.test(source.slice(at, at + 4))) return at;
  }
  return source.length;
}

/** Where the condition that ends at `index` begins. */
function clauseStart(source: string, index: number): number {
  let depth = 0;
  for (let at = index; at > 0; at--) {
    const character = source[at - 1] as string;
    if (')]}'.includes(character)) depth++;
    else if ('([{;'.includes(character) && --depth < 0) return at;
    else if (depth === 0 && / && $| \|\| $|return $| = $/.test(source.slice(0, at).slice(-8))) return at;
  }
  return 0;
}

function handMutations(source: string): Mutation[] {
  return BY_HAND.map(([name, text, replacement]) => {
    const start = source.indexOf(text);
    if (start < 0)
      throw new Error(`The mutation "${name}" finds no "${text}": write it for what is there now.`);
    return mutationOf(source, name, start, text, replacement);
  });
}

function mutationOf(
  source: string,
  what: string,
  start: number,
  text: string,
  replacement: string,
): Mutation {
  const before = source.slice(0, start);
  const line = before.split('\n').length;
  const lineStart = before.lastIndexOf('\n') + 1;
  const end = start + text.length;
  const rest = source.slice(end).split('\n', 1)[0];
  const becomes = `${source.slice(lineStart, start)}${replacement}${rest}`.trim();
  return { name: `${line}:${start - lineStart + 1} ${what}`, becomes, start, end, replacement };
}

/** Whether `index` is neither in a comment nor in a line of the preprocessor. */
function isCode(source: string, index: number): boolean {
  const start = source.lastIndexOf('\n', index) + 1;
  const line = source.slice(start, index);
  return !line.includes('//') && !line.startsWith('#');
}
