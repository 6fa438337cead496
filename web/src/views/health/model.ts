import type { Health, SignalHealth } from '../../api/model';
import { bytes, exact, ratio, span } from '../../lib/format';
import { full } from '../../lib/format';

/** `produced + recovered = exported + queued + spooled + dropped`: both sides, and whether they are equal. */
export function account(signal: SignalHealth): { left: number; right: number; dropped: number; balanced: boolean } {
  const dropped = Object.values(signal.dropped).reduce((sum, count) => sum + count, 0);
  const left = signal.produced + signal.recovered;
  const right = signal.exported + signal.queued + signal.spooled + dropped;
  return { left, right, dropped, balanced: left === right };
}

/** What the ledger keeps, in words. */
export function sampling(ledger: Health['ledger']): string {
  const bound = `It keeps up to ${bytes(ledger.bytes_max)} and ${span(ledger.age_max_s)}.`;
  if (!ledger.seen) return `No call has ended yet. ${bound}`;
  if (!ledger.sampled_until) {
    const gone = ledger.seen - ledger.invocations;
    return `Nothing is sampled: ${exact(ledger.invocations)} of ${exact(ledger.seen)} ever seen${gone > 0 ? `; ${exact(gone)} were too old or were purged` : ''}. ${bound}`;
  }
  return `Of calls before ${full(ledger.sampled_until)} a fair sample is kept: errors and slow ones first, then some of each plugin. Of all ${exact(ledger.seen)} calls, ${exact(ledger.invocations)} (${ratio(ledger.invocations / ledger.seen)}) have a row. Counts, rates and charts are exact. ${bound}`;
}

export function reasons(dropped: Record<string, number>): string {
  return Object.entries(dropped).map(([reason, count]) => `${reason} ${exact(count)}`).join(', ');
}
