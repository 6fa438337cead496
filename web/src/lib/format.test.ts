import { expect, test } from 'vitest';
import { ago, bytes, clock, count, duration, rate, ratio, span } from './format';

test('durations keep three digits and choose their unit', () => {
  const shown: [number | null, string][] = [
    [null, '–'], [0, '0 ms'], [0.0004, '1 µs'], [0.043, '43 µs'], [0.9994, '999 µs'], [0.9996, '1.00 ms'], [12.34, '12.3 ms'], [99.97, '100 ms'],
    [999.4, '999 ms'], [999.6, '1.00 s'], [59_990, '60.0 s'], [64_000, '1 m 4 s'], [3_600_000, '1 h'], [90_061_000, '1 d 1 h'],
  ];
  for (const [ms, text] of shown) expect(duration(ms), String(ms)).toBe(text);
});

test('a span leaves out what is smaller than its second unit', () => {
  expect([span(0), span(59.6), span(86_400), span(86_460), span(3661)]).toEqual(['0 s', '1 m', '1 d', '1 d', '1 h 1 m']);
});

test('bytes, counts, rates and ratios', () => {
  expect([bytes(0), bytes(1023), bytes(1024), bytes(1536), bytes(1_048_576 * 1023.9)]).toEqual(['0 B', '1023 B', '1.00 KiB', '1.50 KiB', '1.00 GiB']);
  expect([count(9_999), count(10_000), count(1_234_567)]).toEqual(['9,999', '10.0 k', '1.23 M']);
  expect([rate(0), rate(0.01), rate(2.2), rate(123_456)]).toEqual(['0/s', '0.60/min', '2.20/s', '123 k/s']);
  expect([ratio(null), ratio(0), ratio(0.00001), ratio(0.0035), ratio(0.231), ratio(1)]).toEqual(['–', '0 %', '<0.01 %', '0.35 %', '23.1 %', '100 %']);
});

test('relative times have one unit', () => {
  const now = Date.parse('2026-01-02T00:00:00Z');
  expect([0, 1, 5, 65, 3600, 90_000, -30].map((s) => ago(now - s * 1000, now))).toEqual(['now', 'now', '5 s ago', '1 m ago', '1 h ago', '1 d ago', 'in 30 s']);
  expect(clock('nonsense')).toBe('–');
});
