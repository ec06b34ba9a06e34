/**
 * What a policy did wrong. trap: it trapped, or exhausted its stack. fuel: it ran longer than its manifest allows.
 * abi: it returned what the canonical ABI forbids. limit: it returned more than its envelope allows.
 * plan: the native side refused what it asked for. quarantined: it did too much of that before, and was not asked.
 */
export type PolicyFaultCode = 'trap' | 'fuel' | 'abi' | 'limit' | 'plan' | 'quarantined';

/** A policy's fault: the operation it judged fails with EIO, and its instance is not used again. */
export class PolicyFault extends Error {
  override readonly name = 'PolicyFault';

  constructor(
    readonly code: PolicyFaultCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
