/** The rules that every policy module must keep, whatever its class. */
export const RULES = [
  {
    id: 'world',
    title: 'Nothing but the contract',
    says: "The module imports what the contract has and exports no more, starts nothing by itself, and declares its memory's maximum.",
  },
  {
    id: 'description',
    title: 'A table within the envelope',
    says: 'The table is of the class that the manifest names, always the same, and its rows are within the envelope.',
  },
  {
    id: 'deny-by-default',
    title: 'Absent means denied',
    says: 'Commands that are not in the table, commands that it refuses and heads that are too short are denied.',
  },
  {
    id: 'arguments',
    title: 'No grant outside the arguments',
    says: 'Each granted region begins where a pointer of the arguments leads, and each relocated pointer is the one that led there.',
  },
  {
    id: 'bounds',
    title: 'Bounded plans',
    says: "Plans are within the envelope and the command's row: counts, bytes, access, and every place inside its region.",
  },
  {
    id: 'single-fetch',
    title: 'Single fetch',
    says: "A verdict does not depend on bytes of the guest's memory that are read twice.",
  },
  {
    id: 'handles',
    title: 'No handle of another guest',
    says: 'Handles are learnt only from what the driver wrote in a success, every table that is filled is also asked, and nothing that this class asks is left out.',
  },
  {
    id: 'stateless',
    title: 'No memory of other calls',
    says: 'A fresh instance answers each call as one does that has judged many, so that no guest’s bytes live on and an instance can be thrown away.',
  },
  {
    id: 'memory',
    title: 'No growth',
    says: 'The memory does not grow from call to call.',
  },
  {
    id: 'termination',
    title: 'Termination',
    says: 'Every call ends within its fuel.',
  },
  {
    id: 'answers',
    title: 'Sound answers',
    says: 'No call traps, and every answer is one that the contract has: errnos, reasons, fields and tables that there are.',
  },
  {
    id: 'vectors',
    title: 'Its own vectors',
    says: 'The module answers its test vectors as they say.',
  },
] as const;

/** One of the rules, by its name. */
export type RuleId = (typeof RULES)[number]['id'];

/** What a module did against a rule, and by which call. */
export interface Finding {
  what: string;
  /** The command by name, or the file operation. */
  command?: string;
  /** The call in the notation of test vectors, without what was expected. */
  call?: object;
}

/** What came of one rule. */
export interface RuleResult {
  id: RuleId;
  title: string;
  says: string;
  /** unapplied: the module could not be run, or nothing was there that the rule is about. */
  result: 'kept' | 'broken' | 'unapplied';
  /** How often the rule was looked at. */
  checks: number;
  /** How often it was broken; the first few ways are in `findings`. */
  violations: number;
  findings: Finding[];
}

/** Different findings that are kept of one rule: enough to see what it is about. */
const FINDINGS_MAX = 8;

/** Collects what comes of the rules, and keeps one witness of each different finding. */
export class RuleBook {
  private readonly results = new Map<RuleId, RuleResult>(
    RULES.map((rule) => [
      rule.id,
      { ...rule, result: 'unapplied', checks: 0, violations: 0, findings: [] as Finding[] },
    ]),
  );

  /** A rule has been looked at; `faults` are its violations. */
  note(id: RuleId, faults: readonly string[], witness: Omit<Finding, 'what'> = {}): void {
    const result = this.results.get(id) as RuleResult;
    result.checks++;
    if (faults.length === 0) {
      if (result.result === 'unapplied') result.result = 'kept';
      return;
    }
    result.result = 'broken';
    result.violations += faults.length;
    for (const what of faults) {
      const known = result.findings.some(
        (finding) =>
          withoutNumbers(finding.what) === withoutNumbers(what) && finding.command === witness.command,
      );
      if (!known && result.findings.length < FINDINGS_MAX) result.findings.push({ what, ...witness });
    }
  }

  all(): RuleResult[] {
    return [...this.results.values()];
  }
}

function withoutNumbers(text: string): string {
  return text.replace(/0x[0-9a-f]+|\d+/g, '#');
}
