import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SOURCES } from '../policy/compile.js';
import { ROOT } from '../root.js';
import {
  manifestText,
  policyText,
  readmeText,
  testText,
  tsconfigText,
  vectorsText,
} from './policy-skeleton.js';
import { printJson } from './refusal.js';

/** schemas/manifest.schema.json. */
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** `postern policy new`: a class that builds and passes its vectors; nothing that is there already is touched. */
export function newPolicy(
  name: string,
  { inRepository = false, json = false }: { inRepository?: boolean; json?: boolean },
): void {
  if (!NAME.test(name))
    throw new Error(
      `'${name}' can't be a class's name: expected lower-case letters, digits and hyphens, at most 32.`,
    );
  const folder = inRepository ? SOURCES : resolve(name);
  const files = new Map([
    [join(folder, `${name}.ts`), policyText(name)],
    [join(folder, `${name}.manifest.json`), manifestText(name)],
    [join(folder, `${name}.vectors.json`), vectorsText(name)],
    inRepository
      ? [join(ROOT, 'test', 'policy', `${name}.test.ts`), testText(name)]
      : [join(folder, 'tsconfig.json'), tsconfigText()],
    ...(inRepository ? [] : [[join(folder, 'README.md'), readmeText(name)] as const]),
  ]);
  const there = [...files.keys()].find((path) => existsSync(path));
  if (there !== undefined) throw new Error(`${there} is there already.`);
  mkdirSync(folder, { recursive: true });
  for (const [path, text] of files) writeFileSync(path, text, { flag: 'wx' });
  if (json) {
    printJson({ class: name, folder, files: [...files.keys()] });
    return;
  }
  process.stdout.write(
    [
      ...files.keys(),
      '',
      `Next: edit it (policies/HOWTO_ADD_CLASS.md in ${ROOT} tells how), and try it:`,
      `  postern policy test ${name} --coverage`,
      `  postern policy build ${name}`,
      ...(inRepository
        ? ['It is recorded as given out by `npm run raise`.']
        : [`${name}/README.md tells the rest of the way.`]),
      '',
    ].join('\n'),
  );
}
