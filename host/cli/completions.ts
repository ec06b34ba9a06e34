import { readdirSync } from 'node:fs';
import type { Argument, Command, Option } from 'commander';
import { POLICY_FOLDER } from '../policy/store.js';

/** What the shell is to add of its own to the candidates. */
type More = 'files' | 'commands' | 'none';

interface Candidate {
  value: string;
  description: string;
}

interface Completion {
  candidates: Candidate[];
  more: More;
}

/** Arguments that may be a device class, by their names in the commands' tables. */
const CLASS_ARGUMENTS: ReadonlySet<string> = new Set(['class', 'module', 'before', 'after']);
const COMPONENT_ENDING = '.component.wasm';
const NOTHING: Completion = { candidates: [], more: 'none' };
const FILES: Completion = { candidates: [], more: 'files' };
const PROGRAMS: Completion = { candidates: [], more: 'commands' };

/**
 * What may stand at the cursor, by the commands' own tables: one candidate a line, with a tabulator before its description, then a line
 * `:files`, `:commands` or `:none`, which says what the shell adds.
 * @param words what has been typed behind `postern`, the word at the cursor last; it may be empty
 */
export function completions(root: Command, words: readonly string[]): string {
  const typed = words.at(-1) ?? '';
  const { candidates, more } = at(root, words.slice(0, -1), typed);
  const fitting = candidates.filter(({ value }) => value.startsWith(typed));
  const lines = fitting.map(({ value, description }) => `${value}\t${oneLine(description)}`);
  return `${[...lines, `:${more}`].join('\n')}\n`;
}

function at(root: Command, before: readonly string[], typed: string): Completion {
  const place = new Place(root);
  for (const word of before) place.take(word);
  if (place.hasLeft) return place.isAtProgram ? PROGRAMS : FILES;
  if (place.pending !== undefined) return valuesOf(place.pending, typed === '=' ? '=' : '');
  return typed.startsWith('-') ? optionsAt(place.command, typed) : argumentsAt(place.command, place.argument);
}

/** Where the words that have been typed lead to. */
class Place {
  /** How many of the command's arguments there are. */
  argument = 0;
  /** The option whose value comes next. */
  pending: Option | undefined;
  /** Whether what follows is not Postern's own any more: behind `--`, and behind a program. */
  hasLeft = false;
  /** Whether the next word is the program. */
  isAtProgram = false;

  constructor(public command: Command) {}

  take(word: string): void {
    // Bash has the sign between an option and its value as a word of its own.
    if (word === '=') return;
    if (this.hasLeft) this.isAtProgram = false;
    else if (this.pending !== undefined) this.pending = undefined;
    else if (word === '--') this.#leave(this.argument === 0 && isProgram(this.command));
    else if (word.startsWith('-')) this.#takeOption(word);
    else this.#takeArgument(word);
  }

  #takeOption(word: string): void {
    const option = optionOf(this.command, word);
    if (takesValue(option) && !word.includes('=')) this.pending = option;
  }

  #takeArgument(word: string): void {
    const below = this.command.commands.find((each) => each.name() === word);
    if (below !== undefined && this.argument === 0) this.command = below;
    else if (isProgram(this.command)) this.#leave(false);
    else this.argument++;
  }

  #leave(isAtProgram: boolean): void {
    this.hasLeft = true;
    this.isAtProgram = isAtProgram;
  }
}

/** Whether what follows is a program of the user's, with arguments that are its own. */
function isProgram({ registeredArguments }: Command): boolean {
  const [first, second] = registeredArguments;
  return second?.variadic === true && (first?.name() === 'program' || first?.name() === 'qemu');
}

function optionsAt(command: Command, typed: string): Completion {
  const [name = '', value] = typed.split('=');
  const option = value === undefined ? undefined : optionOf(command, name);
  if (option !== undefined) return valuesOf(option, `${name}=`);
  const options = command.createHelp().visibleOptions(command);
  return {
    candidates: options.map((each) => ({
      value: each.long ?? each.short ?? '',
      description: each.description,
    })),
    more: 'none',
  };
}

function argumentsAt(command: Command, index: number): Completion {
  if (command.commands.length > 0 && index === 0) {
    const below = command.createHelp().visibleCommands(command);
    return {
      candidates: below.map((each) => ({
        value: each.name(),
        description: each.summary() || each.description(),
      })),
      more: 'none',
    };
  }
  const known = command.registeredArguments;
  const last = known.at(-1);
  const argument = known[index] ?? (last?.variadic ? last : undefined);
  if (argument === undefined) return NOTHING;
  if (isProgram(command)) return PROGRAMS;
  return ofArgument(argument);
}

function ofArgument(argument: Argument): Completion {
  if (argument.argChoices !== undefined) return { candidates: plain(argument.argChoices), more: 'none' };
  if (!CLASS_ARGUMENTS.has(argument.name())) return FILES;
  return { candidates: plain(classes()), more: argument.name() === 'class' ? 'none' : 'files' };
}

function valuesOf({ argChoices }: Option, prefix = ''): Completion {
  if (argChoices === undefined) return prefix === '' ? FILES : NOTHING;
  return { candidates: plain(argChoices.map((value) => prefix + value)), more: 'none' };
}

function optionOf(command: Command, word: string): Option | undefined {
  const [name] = word.split('=');
  return command.options.find(({ long, short }) => long === name || short === name);
}

function takesValue(option: Option | undefined): boolean {
  return option !== undefined && (option.required || option.optional);
}

/** The device classes that have been built. */
function classes(): string[] {
  try {
    const files = readdirSync(POLICY_FOLDER).filter((file) => file.endsWith(COMPONENT_ENDING));
    return files.map((file) => file.slice(0, -COMPONENT_ENDING.length)).sort();
  } catch {
    return [];
  }
}

function plain(values: readonly string[]): Candidate[] {
  return values.map((value) => ({ value, description: '' }));
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}
