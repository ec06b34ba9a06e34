import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { ROOT } from '../root.js';

export type OperationName = 'open' | 'ioctl' | 'read' | 'write' | 'mmap' | 'seek';

/** The contract's kinds of descriptors. */
export type DescriptorName = 'dma-buf' | 'sync-file' | 'syncobj';

/** What a module judges: device nodes, or the descriptors of a kind that drivers make. */
export interface ManifestNode {
  pattern?: string;
  onRequest?: boolean;
  descriptor?: DescriptorName;
}

/** The limits of a policy module; units and meanings are in schemas/manifest.schema.json. */
export interface Envelope {
  operations: OperationName[];
  ioctlTypes: string[];
  argumentBytesMax: number;
  transferBytesMax: number;
  writesJudged?: boolean;
  pollSynchronizes?: boolean;
  grantsMax: number;
  grantBytesMax: number;
  relocationsMax: number;
  requirementsMax: number;
  descriptorsMax?: number;
  sessionsMax: number;
  operationsInFlightMax: number;
  mappedPagesMax: number;
  handlesMax: number;
  decisionFuelMax: number;
  memoryPagesMax: number;
  faultsMax: number;
}

/** A policy module's manifest, as schemas/manifest.schema.json describes it. */
export interface Manifest {
  name: string;
  class: string;
  version: string;
  sequence: number;
  contract: '0.1.0';
  uapi: string;
  nodes: ManifestNode[];
  refuses?: { pattern: string; reason: string }[];
  /** The kind of state that sessions and handle tables hold; a module of another kind can't carry them on. 0 by default. */
  state?: number;
  /** What judges when this version misbehaves after a switch: the version before it (the default), or nothing. */
  fallback?: 'previous' | 'none';
  sharing: 'concurrent' | 'exclusive';
  envelope: Envelope;
}

let validator: ValidateFunction<Manifest> | undefined;

/**
 * Checks a manifest.
 * @param text the manifest's JSON
 * @param source where it came from, for the error
 * @throws Error with everything that is wrong, one line a fault, each with its path in the manifest
 */
export function parseManifest(text: string, source: string): Manifest {
  const parsed = parseJson(text, source);
  validator ??= compileSchema();
  if (validator(parsed)) return parsed;
  const faults = (validator.errors ?? []).map((error) => `  ${describeError(error)}`);
  throw new Error([`${source} is not a policy manifest:`, ...faults].join('\n'));
}

/** Whether a device name below /dev is one of a node's. */
export function matchesNode(node: ManifestNode, deviceName: string): boolean {
  return node.pattern !== undefined && new RegExp(`^(?:${node.pattern})$`, 'u').test(deviceName);
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${source} is not JSON: ${(error as Error).message}`);
  }
}

function compileSchema(): ValidateFunction<Manifest> {
  const schema = JSON.parse(readFileSync(join(ROOT, 'schemas', 'manifest.schema.json'), 'utf8'));
  const ajv = new Ajv2020({ allErrors: true, formats: { regex: isRegularExpression } });
  return ajv.compile<Manifest>(schema);
}

function isRegularExpression(text: string): boolean {
  try {
    new RegExp(`^(?:${text})$`, 'u');
    return true;
  } catch {
    return false;
  }
}

/** One fault that ajv found, with its path. */
export function describeError(error: ErrorObject): string {
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
