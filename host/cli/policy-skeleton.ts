import { join } from 'node:path';
import { ROOT } from '../root.js';

/** What `postern policy new` writes: the smallest class that shows a command, a rule about a value, and a refusal. */

/** The class itself. */
export function policyText(name: string): string {
  const prefix = name.toUpperCase().replaceAll('-', '_');
  return `/** ${name}: say here from which kernel header, and from which function of the driver's core, the facts come. */
import { commands, device, EINVAL, ENOTTY, reason, refuse, without } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

// Commands by the kernel's identifiers. Within Postern's repository these numbers are generated from the header.
/** _IOR('e', 1, __u32) */
const ${prefix}_GET_STATE: u32 = 0x80046501;
/** _IOW('e', 2, __u32) */
const ${prefix}_SET_STATE: u32 = 0x40046502;
/** _IO('e', 3) */
const ${prefix}_RESET: u32 = 0x6503;

function nameOf(command: u32): string {
  switch (command) {
    case ${prefix}_GET_STATE:
      return '${prefix}_GET_STATE';
    case ${prefix}_SET_STATE:
      return '${prefix}_SET_STATE';
    case ${prefix}_RESET:
      return '${prefix}_RESET';
    default:
      return '';
  }
}

device('${name}', nameOf);

const STATE_BITS: u64 = 0x1;
const UNKNOWN_BITS = reason('only the first bit of the state means anything');
const EVERYBODY = reason('a reset would disturb every other user of the device');

commands([${prefix}_GET_STATE]);
commands([${prefix}_SET_STATE]);
without(0xffffffff & ~STATE_BITS, 0, 4, EINVAL, UNKNOWN_BITS);
refuse([${prefix}_RESET], ENOTTY, EVERYBODY);
`;
}

/** Its envelope: no more than it needs. */
export function manifestText(name: string): string {
  return json({
    name,
    class: name,
    version: '0.1.0',
    sequence: 1,
    contract: '0.2.0',
    uapi: 'linux-libc-dev 6.1',
    nodes: [{ pattern: `${name}[0-9]+` }],
    sharing: 'concurrent',
    envelope: {
      operations: ['open', 'ioctl'],
      ioctlTypes: ['e'],
      argumentBytesMax: 4,
      transferBytesMax: 0,
      grantsMax: 0,
      grantBytesMax: 0,
      relocationsMax: 0,
      requirementsMax: 0,
      sessionsMax: 16,
      operationsInFlightMax: 8,
      mappedPagesMax: 0,
      handlesMax: 0,
      decisionFuelMax: 100000,
      memoryPagesMax: 4,
      faultsMax: 16,
    },
  });
}

/** What it must answer: to a good call of each command, and to what it refuses. */
export function vectorsText(name: string): string {
  const prefix = name.toUpperCase().replaceAll('-', '_');
  const ioctl = (command: string, what: string, head: object | undefined, expect: object): object => ({
    name: `${prefix}_${command}: ${what}`,
    operation: 'ioctl',
    command: `${prefix}_${command}`,
    argument: '0x7000',
    ...(head === undefined ? {} : { head }),
    expect,
  });
  return json({
    class: name,
    vectors: [
      { name: 'open: is allowed', operation: 'open', expect: { allow: { head: 'none' } } },
      {
        ...{ name: 'open: is polled for nothing', operation: 'open', outcome: 0 },
        expect: { settle: {} },
      },
      ioctl('GET_STATE', 'is copied out', { bytes: 4 }, { allow: { head: 'from-driver' } }),
      ioctl('SET_STATE', 'is copied in', { bytes: 4, at: { '0': '01' } }, { allow: { head: 'to-driver' } }),
      ioctl(
        'SET_STATE',
        'has no unknown bits',
        { bytes: 4, at: { '0': '02' } },
        { deny: { errno: 'EINVAL', reason: 'only the first bit of the state means anything', field: 0 } },
      ),
      ioctl('RESET', 'is refused', undefined, {
        deny: { errno: 'ENOTTY', reason: 'a reset would disturb every other user of the device' },
      }),
    ],
  });
}

/** A test for a class in the repository. */
export function testText(name: string): string {
  return `import { expect, it } from 'vitest';
import { loadVectors, runVectors } from '../../host/policy/vectors.js';
import { policyPackage } from './support.js';

it('${name} answers as its test vectors say', async () => {
  const report = await runVectors(await policyPackage('${name}'), loadVectors('${name}'));
  expect(report.failures).toEqual([]);
  expect(report.passed).toBeGreaterThan(0);
});
`;
}

/** What to do with it, for who opens the folder. */
export function readmeText(name: string): string {
  const file = `${name}-0.1.0.postern`;
  return `# ${name}

A policy module of Postern for the device class \`${name}\`: which operations of a guest may reach the driver, and which bytes of the guest's
memory with them. It works as it is, for a device with three commands; make it yours.

| file | what it is |
| --- | --- |
| \`${name}.ts\` | the policy: a table of commands, and rules about their arguments, in AssemblyScript |
| \`${name}.manifest.json\` | its numbers, its device files, and its envelope: what the host never lets it exceed |
| \`${name}.vectors.json\` | calls, and what it must answer; whoever installs it runs them first |

While you write, in the folder above this one:

    postern policy test ${name} --coverage    # its vectors, hostile calls, and what no vector shows yet
    postern audit check ${name}               # the isolation rules

\`policies/HOWTO_ADD_CLASS.md\` of Postern tells what can be written, and what to read in a kernel first. Then

    postern policy build ${name}              # ${file}
    postern policy keygen me.key          # once; keep it to yourself
    postern policy sign ${file} --key me.key
    postern policy inspect ${file}        # what a reviewer sees

and, on the host that is to use it,

    postern policy trust me me.key.pub --class ${name}
    postern policy install --shadow ${file} && postern policy shadow-report    # beside what is in force, if anything is
    postern policy promote ${name}            # or install it without --shadow at once

Each version that you give out needs a greater \`sequence\` and a greater \`version\` in the manifest: a host takes no older one. Before a reviewer does:

    postern policy diff ${file} ${name}       # what the next version permits more (exit status 2), or less (1)
`;
}

/** For editors: the folder and Postern's policies are one, as they are to the compiler. */
export function tsconfigText(): string {
  return json({
    extends: join(ROOT, 'node_modules', 'assemblyscript', 'std', 'assembly.json'),
    compilerOptions: { rootDirs: ['.', join(ROOT, 'policies')] },
    include: ['./*.ts'],
  });
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
