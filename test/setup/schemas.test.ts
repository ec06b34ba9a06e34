import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../host/root.js';

const FOLDER = join(ROOT, 'schemas');

describe('the JSON schemas', () => {
  it.each(readdirSync(FOLDER).filter((file) => file.endsWith('.schema.json')))('%s is one', (file) => {
    const schema = JSON.parse(readFileSync(join(FOLDER, file), 'utf8'));
    const ajv = String(schema.$schema).includes('2020-12') ? new Ajv2020() : new Ajv();
    ajv.validateSchema(schema);
    expect(ajv.errors ?? []).toEqual([]);
  });
});
