import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { ROOT } from '../root.js';

/** RFC 3339, in the form that is also JavaScript's. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/;

// That the schemas are schemas is checked by test/setup/schemas.test.ts, once and not at every start.
const ajv = new Ajv2020({
  allErrors: true,
  validateSchema: false,
  formats: { regex: isRegularExpression, 'date-time': isTime },
});
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

/**
 * What is wrong with a value by a schema in schemas/: one line a fault, each with its path; empty when it is right.
 * @param used further schemas in schemas/ that it refers to
 */
export function schemaFaults(value: unknown, schema: string, used: readonly string[] = []): string[] {
  const validate = validators.get(schema) ?? compile(schema, used);
  return validate(value) ? [] : (validate.errors ?? []).map(describeError);
}

function compile(schema: string, used: readonly string[]): ValidateFunction {
  const read = (file: string): object => JSON.parse(readFileSync(join(ROOT, 'schemas', file), 'utf8'));
  for (const file of used) if (ajv.getSchema(file) === undefined) ajv.addSchema(read(file));
  const validate = ajv.getSchema(schema) ?? ajv.compile(read(schema));
  validators.set(schema, validate);
  return validate;
}

function isRegularExpression(text: string): boolean {
  try {
    new RegExp(`^(?:${text})$`, 'u');
    return true;
  } catch {
    return false;
  }
}

function isTime(text: string): boolean {
  return TIME.test(text) && !Number.isNaN(Date.parse(text));
}

function describeError(error: ErrorObject): string {
  const place = error.instancePath === '' ? '/' : error.instancePath;
  const params = error.params as {
    additionalProperty?: string;
    allowedValues?: unknown[];
    allowedValue?: unknown;
  };
  const allowed =
    params.allowedValues ?? (params.allowedValue === undefined ? undefined : [params.allowedValue]);
  const detail = params.additionalProperty ?? allowed?.map((value) => JSON.stringify(value)).join(', ');
  return `${place} ${error.message}${detail === undefined ? '' : `: ${detail}`}`;
}
