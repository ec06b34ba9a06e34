/** A program of attempts in this folder. */
export interface HostileProgram {
  name: string;
  /** local: over this machine's own terminals; vm: over vivid in a driver VM. */
  domain: 'local' | 'vm';
  /** Attempts that are not run without Postern, and why. */
  neverWithout: Readonly<Record<string, string>>;
  /** Attempts that must reach their aim without Postern: what stops them is then Postern, and the check can fail. */
  succeedWithout: readonly string[];
  /** Attempts that the host may end by killing who makes them. */
  mayBeKilled: readonly string[];
}

const OF_ITSELF = 'it would be this machine’s own';
const SECRET = 'it needs another guest, and a host that gives pages back';

export const PROGRAMS: readonly HostileProgram[] = [
  {
    name: 'paths',
    domain: 'local',
    neverWithout: { 'another name': OF_ITSELF, 'a hard link': OF_ITSELF },
    succeedWithout: [],
    mayBeKilled: [],
  },
  { name: 'calls', domain: 'local', neverWithout: {}, succeedWithout: [], mayBeKilled: [] },
  {
    name: 'processes',
    domain: 'local',
    neverWithout: {
      ...{ 'ptrace of init': OF_ITSELF, 'kill of init': OF_ITSELF, kexec_load: OF_ITSELF },
      ...{ init_module: OF_ITSELF, iopl: OF_ITSELF },
    },
    succeedWithout: [],
    mayBeKilled: [],
  },
  { name: 'arguments', domain: 'local', neverWithout: {}, succeedWithout: [], mayBeKilled: [] },
  {
    name: 'pages',
    domain: 'vm',
    neverWithout: {
      ...{ 'a mapping without a first thread': SECRET, 'a mapping in a PID namespace below': SECRET },
      ...{ 'a mapping handed on': SECRET, 'pages in a pipe': SECRET, 'pages in a socket': SECRET },
    },
    succeedWithout: [],
    mayBeKilled: ['an instruction that changes'],
  },
];
