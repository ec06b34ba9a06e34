/**
 * What the policy code uses of the WebAssembly JavaScript interface. TypeScript declares it in its library for browsers only,
 * whose other names have no business here.
 */
declare namespace WebAssembly {
  type ImportExportKind = 'function' | 'global' | 'memory' | 'table';
  type ExportValue = ((...values: never[]) => unknown) | Global | Memory;

  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): { module: string; name: string; kind: ImportExportKind }[];
    static exports(module: Module): { name: string; kind: ImportExportKind }[];
  }
  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, (...values: never[]) => unknown>>);
    readonly exports: Record<string, ExportValue>;
  }
  class Memory {
    readonly buffer: ArrayBuffer;
  }
  class Global {
    value: number | bigint;
  }
  class RuntimeError extends Error {}
  class CompileError extends Error {}
  class LinkError extends Error {}

  function validate(bytes: Uint8Array): boolean;
  function compile(bytes: Uint8Array): Promise<Module>;
}
