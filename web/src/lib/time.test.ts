import { expect, test } from 'vitest';
import { durationMs, instant } from './time';

test('a duration or an instant', () => {
  expect([durationMs('5m'), durationMs('1.5h'), durationMs('250ms'), durationMs('5'), durationMs('-1s')]).toEqual([300_000, 5_400_000, 250, null, null]);
  expect(instant('1m', 100_000)).toBe(40_000);
  expect(instant('2026-01-01T00:00:00Z')).toBe(Date.UTC(2026, 0, 1));
  expect([instant('', 5), instant('soon', 5), instant(undefined, 5)]).toEqual([null, null, null]);
});
