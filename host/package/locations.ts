import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** Where this user's policy store is: root's is the machine's. XDG Base Directory Specification for everybody else. */
export function defaultStoreFolder(): string {
  if (process.geteuid?.() === 0) return '/var/lib/postern/policies';
  return join(xdg('XDG_STATE_HOME', '.local/state'), 'postern', 'policies');
}

/** Where this user's trust policy is. */
export function defaultTrustPath(): string {
  if (process.geteuid?.() === 0) return '/etc/postern/trust.json';
  return join(xdg('XDG_CONFIG_HOME', '.config'), 'postern', 'trust.json');
}

/** The specification has relative paths ignored. */
function xdg(variable: string, otherwise: string): string {
  const value = process.env[variable];
  return value !== undefined && isAbsolute(value) ? value : join(homedir(), otherwise);
}
