import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { openPackage, PACKAGE_ENDING, policyOf, readPackageFile } from '../package/package.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { loadVectors, parseVectors, type VectorFile, vectorsPath } from '../policy/vectors.js';

const COMPONENT_ENDING = '.component.wasm';

/** A module that a command was given, and its vectors where it has some. */
export interface ResolvedPolicy {
  policy: PolicyPackage;
  vectors: VectorFile | undefined;
}

/**
 * The module that a command's argument names: a class of this repository by its name, a package (NAME-VERSION.postern), or a component
 * (NAME.component.wasm) with its manifest, and perhaps its vectors, beside it. Nobody's signature is looked at.
 * @throws Error when there is no such module, or with everything that is wrong with it
 */
export function resolvePolicy(argument: string): ResolvedPolicy {
  if (argument.endsWith(PACKAGE_ENDING)) return policyInPackage(argument);
  if (argument.endsWith(COMPONENT_ENDING)) return policyBeside(resolve(argument));
  const policies = loadPolicies();
  const policy = policies.find(({ manifest }) => manifest.name === argument);
  if (policy === undefined) {
    const names = policies.map(({ manifest }) => manifest.name).join(', ');
    throw new Error(
      `There is no policy module '${argument}'. Expected a class (${names}), a package (*${PACKAGE_ENDING}), or a file ` +
        `NAME${COMPONENT_ENDING} with its manifest beside it.`,
    );
  }
  return { policy, vectors: existsSync(vectorsPath(argument)) ? loadVectors(argument) : undefined };
}

function policyInPackage(path: string): ResolvedPolicy {
  const opened = openPackage(readPackageFile(path));
  return { policy: policyOf(opened, path), vectors: opened.vectors };
}

function policyBeside(component: string): ResolvedPolicy {
  if (!existsSync(component)) throw new Error(`There is no ${component}.`);
  const policy = loadPolicies(dirname(component)).find((candidate) => candidate.component === component);
  if (policy === undefined) throw new Error(`${component} is no policy module.`);
  const vectors = component.replace(COMPONENT_ENDING, '.vectors.json');
  return {
    policy,
    vectors: existsSync(vectors) ? parseVectors(readFileSync(vectors, 'utf8'), vectors) : undefined,
  };
}
