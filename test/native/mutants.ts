import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../../host/root.js';
import { EQUIVALENT, type Mutation, mutate, mutationsOf } from './mutations.js';
import { BUILD, build, NATIVE_TESTS, runToEnd } from './native.js';

/** The plan checker, whose tests are put to the test. */
export const PLAN_CHECKER = join(ROOT, 'native', 'addon', 'plan.cc');
const MUTANTS = join(BUILD, 'mutants');
const PLAIN_OBJECTS = ['main.o', 'check.o', 'plan_oracle.o', 'test_plan.o', 'test_plan_handles.o'].map(
  (name) => join(BUILD, 'plain', name),
);
/** The tests end in about a second: a mutant that takes longer is caught in a loop. */
const RUN_LIMIT_MS = 30_000;
/** Address space of a mutant's tests: one that believes an absurd count must not take the machine's memory. */
const MEMORY_KIB_MAX = 2 * 1024 * 1024;

export interface Fate {
  mutation: Mutation;
  /** What the tests said of it first; '' when they noticed nothing. */
  noticed: string;
}

/**
 * Runs the unit tests of the plan checker on every mutant of it, all of them compiled into one program.
 * @throws Error when the unchanged source does not pass, or a mutant does not compile
 */
export async function runMutants(): Promise<Fate[]> {
  build('plain');
  mkdirSync(MUTANTS, { recursive: true });
  const source = readFileSync(PLAN_CHECKER, 'utf8');
  const mutations = mutationsOf(source);
  const program = await compile(source, mutations);
  const unchanged = await wordsOfTests(program, mutations.length);
  if (unchanged !== '') throw new Error(`The tests fail without any mutation: ${unchanged}`);
  const fates: Fate[] = [];
  const queue = mutations.entries();
  const worker = async (): Promise<void> => {
    for (const [number, mutation] of queue)
      fates[number] = { mutation, noticed: await wordsOfTests(program, number) };
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return fates;
}

/** The mutants that the tests should have noticed and did not. */
export function survivorsOf(fates: readonly Fate[]): Mutation[] {
  return fates.flatMap(({ mutation, noticed }) =>
    noticed === '' && !EQUIVALENT.has(mutation.becomes) ? [mutation] : [],
  );
}

/** What the unit tests say first of mutant `number`; '' when they pass. */
async function wordsOfTests(program: string, number: number): Promise<string> {
  const limited = `ulimit -c 0; ulimit -v ${MEMORY_KIB_MAX}; MUTANT=$1 exec "$0" --until-failure`;
  const { status, errors } = await runToEnd('sh', ['-c', limited, program, String(number)], RUN_LIMIT_MS);
  if (status === 0) return '';
  return errors.trim() || `ended with status ${status}`;
}

/** One program with all the mutants, and the unchanged source after them. The variable MUTANT chooses. */
async function compile(source: string, mutations: readonly Mutation[]): Promise<string> {
  const program = join(MUTANTS, 'test-mutants');
  const names = [...mutations.map(({ name }) => name), 'unchanged'];
  const variants = [...mutations.map((mutation) => mutate(source, mutation)), source];
  const parts = variants.map((variant, number) => inNamespace(variant, number, names[number] ?? ''));
  writeFileSync(`${program}.cc`, [includesOf(source), ...parts, dispatcher(variants.length)].join('\n'));
  const includes = [join(ROOT, 'native', 'addon'), NATIVE_TESTS].map((folder) => `-I${folder}`);
  const options = ['-std=c++17', '-O0', '-w', '-pthread', ...includes, `${program}.cc`, ...PLAIN_OBJECTS];
  try {
    await promisify(execFile)('g++', [...options, '-o', program]);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new Error(`A mutant does not compile; the compiler names it as the file: ${words.slice(0, 4000)}`);
  }
  return program;
}

function includesOf(source: string): string {
  return `${source.match(/^#include.*$/gm)?.join('\n')}\n#include <cstdlib>`;
}

/** The source's own namespace becomes one of the mutant's, from which the types of plan.h are seen. */
function inNamespace(source: string, number: number, name: string): string {
  const body = source
    .replace(/^#include.*$/gm, '')
    .replace('namespace postern {', `namespace mutant${number} { using namespace ::postern;`);
  return `#line 1 ${JSON.stringify(name)}\n${body}`;
}

/** plan.h's functions, which call the mutant's; so do the mutant's own calls of them. */
function dispatcher(count: number): string {
  const cases = (call: string): string =>
    Array.from({ length: count }, (_, number) => `case ${number}: return mutant${number}::${call};`).join(
      '\n',
    );
  return `#line 1 "dispatcher"
namespace postern {
static const int chosen = std::atoi(std::getenv("MUTANT"));
bool isGuestRange(uint64_t address, uint64_t length) {
  switch (chosen) { ${cases('isGuestRange(address, length)')} default: std::abort(); }
}
PlanError readPlan(const Exchange& exchange, const Envelope& envelope, const PlanContext& context, Plan& plan) {
  switch (chosen) { ${cases('readPlan(exchange, envelope, context, plan)')} default: std::abort(); }
}
}
`;
}
