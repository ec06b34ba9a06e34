/**
 * `snapshot`: a driver VM from its snapshot, which the first start takes. `cold`: a driver VM booted anew. `local`: no VM,
 * a locked-down process over this machine's own devices.
 */
export const DOMAIN_MODES = ['snapshot', 'cold', 'local'] as const;
export type DomainMode = (typeof DOMAIN_MODES)[number];

/** The drivers that a driver VM loads where nobody says which: the kernel's virtual camera. */
export const DRIVERS_DEFAULT: readonly string[] = ['vivid'];

export interface DomainChoice {
  mode: DomainMode;
  /** Modules of a driver VM, each optionally with parameters: `vivid n_devs=2`. */
  drivers: readonly string[];
  /** A folder of modules that a driver VM uses in place of its kernel's own. */
  modules?: string | undefined;
  /** A driver VM that shares this machine's root, read-only, for programs that run beside the driver. */
  shareRoot?: boolean;
}
