/** The generated layouts are AssemblyScript; the tests read their constants as TypeScript. */
declare type u32 = number;
