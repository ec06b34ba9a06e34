import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { ROOT } from '../root.js';
import { describeError } from './manifest.js';

const validators = new Map<string, ValidateFunction>();

/**
 * Parses JSON and checks it.
 * @param text the JSON
 * @param source where it came from, for the error
 * @param schema a file name in schemas/
 * @param what what it should be, for the error: 'a file of test vectors'
 * @throws Error with everything that is wrong, one line a fault, each with its path
 */
export function parseChecked<T>(text: string, source: string, schema: string, what: string): T {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new Error(`${source} is not JSON: ${(error as Error).message}`);
  }
  const faults = schemaFaults(parsed, schema);
  if (faults.length === 0) return parsed as T;
  throw new Error([`${source} is not ${what}:`, ...faults.map((fault) => `  ${fault}`)].join('\n'));
}

/** What is wrong with a value by a schema in schemas/: one line a fault, each with its path; empty when it is right. */
export function schemaFaults(value: unknown, schema: string): string[] {
  const validate = validators.get(schema) ?? compile(schema);
  return validate(value) ? [] : (validate.errors ?? []).map(describeError);
}

function compile(schema: string): ValidateFunction {
  const text = readFileSync(join(ROOT, 'schemas', schema), 'utf8');
  const validate = new Ajv2020({ allErrors: true }).compile(JSON.parse(text));
  validators.set(schema, validate);
  return validate;
}
