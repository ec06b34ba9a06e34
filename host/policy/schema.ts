import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { ROOT } from '../root.js';

/** RFC 3339, in the one form that is also JavaScript's. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/;

const ajv = new Ajv2020({
  allErrors: true,
  formats: { regex: isRegularExpression, 'date-time': isTime },
});
const validators = new Map<string, ValidateFunction>();

/**
 * What is wrong with a value by `schemas/NAME.schema.json`: one line a fault, each with its path; empty when nothing is.
 * A schema is read and compiled once.
 */
export function schemaFaults(name: string, value: unknown): string[] {
  const validator = validators.get(name) ?? compile(name);
  return validator(value) ? [] : (validator.errors ?? []).map(describeError);
}

function compile(name: string): ValidateFunction {
  const schema = JSON.parse(readFileSync(join(ROOT, 'schemas', `${name}.schema.json`), 'utf8'));
  const validator = ajv.compile(schema);
  validators.set(name, validator);
  return validator;
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
