// The last line of a run, in the form of the other suites.
import type { FullResult, Reporter, TestCase, TestResult } from '@playwright/test/reporter';

export default class Summary implements Reporter {
  private readonly outcomes = new Map<TestCase, TestResult['status']>();

  /** Those that passed at the second try only. */
  private late = 0;

  onTestEnd(test: TestCase, result: TestResult): void {
    if (result.retry > 0 && result.status === 'passed') this.late += 1;
    this.outcomes.set(test, result.status);
  }

  onEnd(run: FullResult): void {
    const count = (wanted: (status: TestResult['status'], test: TestCase) => boolean) =>
      [...this.outcomes].filter(([test, status]) => wanted(status, test)).length;
    const passed = count((status) => status === 'passed');
    const skipped = count((status) => status === 'skipped');
    const failed = this.outcomes.size - passed - skipped;
    // A run that was cut off, or had no tests, has not passed.
    const rest = run.status === 'passed' || failed > 0 ? '' : `, ${run.status}`;
    console.log(`browser tests: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}${this.late ? `, ${this.late} at the second try` : ''}${rest}`);
  }

  printsToStdio(): boolean {
    return false;
  }
}
