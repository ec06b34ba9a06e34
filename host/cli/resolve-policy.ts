import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { packSources } from '../package/create.js';
import { openPackage, PACKAGE_ENDING, policyOf, readPackageFile } from '../package/package.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { loadVectors, parseVectors, type VectorFile, vectorsPath } from '../policy/vectors.js';
import { coreModuleOf } from '../policy/wasm-sections.js';

const COMPONENT_ENDING = '.component.wasm';

/** How a command names a module. */
const MODULE_ARGUMENT = `a class of this repository, a folder with the sources of one, a package (NAME${PACKAGE_ENDING}), or a component (NAME${COMPONENT_ENDING}) with its manifest beside it`;

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
export async function resolvePolicy(argument: string, allowsUnfit = false): Promise<ResolvedPolicy> {
  if (argument.endsWith(COMPONENT_ENDING)) return policyBeside(resolve(argument));
  if (argument.endsWith(PACKAGE_ENDING))
    return packaged(readPackageFile(argument), resolve(argument), allowsUnfit);
  if (isClassFolder(argument)) return await fromSources(resolve(argument), allowsUnfit);
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

/** Whether a folder holds the sources of the class that has its name. */
function isClassFolder(path: string): boolean {
  return existsSync(join(path, `${basename(resolve(path))}.manifest.json`));
}

/** Compiled for this command only: nothing is written. */
async function fromSources(folder: string, allowsUnfit: boolean): Promise<ResolvedPolicy> {
  return packaged(await packSources(basename(folder), folder), folder, allowsUnfit);
}

function packaged(file: Buffer, path: string, allowsUnfit: boolean): ResolvedPolicy {
  const opened = openPackage(file);
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
