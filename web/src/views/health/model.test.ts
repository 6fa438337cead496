import { expect, test } from 'vitest';
import type { Health, SignalHealth } from '../../api/model';
import { account, reasons, sampling } from './model';

const signal: SignalHealth = { signal: 'logs', produced: 100, recovered: 10, exported: 90, queued: 5, spooled: 12, dropped: { a: 1, b: 2 }, last_export_at: null, spool_bytes: 0 };

test('the account is balanced, or it is said that it is not', () => {
  expect(account(signal)).toEqual({ left: 110, right: 110, dropped: 3, balanced: true });
  expect(account({ ...signal, queued: 4 }).balanced).toBe(false);
  expect(reasons(signal.dropped)).toBe('a 1, b 2');
});

test('sampling is said in words', () => {
  const ledger = { seen: 1000, invocations: 250, sampled_until: null, bytes_max: 2 ** 31, age_max_s: 604_800 } as Health['ledger'];
  expect(sampling(ledger)).toContain('250 of 1,000 ever seen; 750 were too old');
  expect(sampling({ ...ledger, sampled_until: '2026-01-01T00:00:00Z' })).toContain('250 (25.0 %) have a row');
  expect(sampling({ ...ledger, seen: 0, invocations: 0 })).toBe('No call has ended yet. It keeps up to 2.00 GiB and 7 d.');
});
