const MS_PER_S = 1000;

/** Until when measuring may begin anew: a benchmark takes fewer rounds where the machine is slow, but always one. */
export class Budget {
  /** Ends never. */
  static readonly UNLIMITED = new Budget(Number.POSITIVE_INFINITY);

  /** @param end by `performance.now()`, milliseconds */
  private constructor(private readonly end: number) {}

  static ofSeconds(seconds: number): Budget {
    return new Budget(performance.now() + seconds * MS_PER_S);
  }

  /** Whether something that takes so long still ends in time. */
  allows(ms: number): boolean {
    return performance.now() + ms <= this.end;
  }

  /** The first of so many equal parts of what is left. */
  share(parts: number): Budget {
    if (this.end === Number.POSITIVE_INFINITY) return this;
    const now = performance.now();
    return new Budget(now + Math.max(0, this.end - now) / parts);
  }
}
