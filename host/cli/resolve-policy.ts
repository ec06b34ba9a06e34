import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { openPackage, PACKAGE_ENDING, policyOf, readPackageFile } from '../package/package.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { loadVectors, parseVectors, type VectorFile, vectorsPath } from '../policy/vectors.js';
import { coreModuleOf } from '../policy/wasm-sections.js';

const COMPONENT_ENDING = '.component.wasm';

/** How a command names a module. */
const MODULE_ARGUMENT = `a class of this repository, a package (NAME${PACKAGE_ENDING}), or a component (NAME${COMPONENT_ENDING}) with its manifest beside it`;

/** A module that a command was given, and its vectors where it has some. */
export interface ResolvedPolicy {
  policy: PolicyPackage;
  vectors: VectorFile | undefined;
}

/**
 * The module that a command's argument names. It is only looked at and tried, so a package's signatures are not asked for.
 * @param allowsUnfit whether a core module that no host would load is taken too, to be told what is wrong with it
 * @throws Error when there is no such module, or with everything that is wrong with it
 */
export function resolvePolicy(argument: string, allowsUnfit = false): ResolvedPolicy {
  if (argument.endsWith(COMPONENT_ENDING)) return policyBeside(resolve(argument));
  if (argument.endsWith(PACKAGE_ENDING)) return packaged(resolve(argument), allowsUnfit);
  const policies = loadPolicies();
  const policy = policies.find(({ manifest }) => manifest.name === argument);
  if (policy === undefined) {
    const names = policies.map(({ manifest }) => manifest.name).join(', ');
    throw new Error(
      `There is no policy module '${argument}'. Expected ${MODULE_ARGUMENT}. The classes are ${names}.`,
    );
  }
  return { policy, vectors: existsSync(vectorsPath(argument)) ? loadVectors(argument) : undefined };
}

function packaged(path: string, allowsUnfit: boolean): ResolvedPolicy {
  const opened = openPackage(readPackageFile(path));
  const { manifest, component, digest, vectors } = opened;
  const policy = allowsUnfit
    ? { manifest, core: coreModuleOf(component), component: path, digest }
    : policyOf(opened, path);
  return { policy, vectors };
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
