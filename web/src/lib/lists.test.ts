import { describe, expect, test } from 'vitest';
import { canBeLive, describeFilters, readFilters } from './filters';
import { neighbours } from './neighbours';

describe('filters', () => {
  test('are those parameters of the address that are filters', () => {
    expect(readFilters({ plugin: 'a', tab: 'logs', kind: '' }, ['plugin', 'kind'] as const)).toEqual({ plugin: 'a' });
  });
  test('end what can be live where their end is past', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect([canBeLive({}, now), canBeLive({ until: '2025-12-31T00:00:00Z' }, now), canBeLive({ until: '2026-01-02T00:00:00Z' }, now), canBeLive({ until: '5m' }, now)]).toEqual([true, false, true, false]);
  });
  test('are told in words', () => {
    expect(describeFilters({ plugin: 'a', q: 'x y', since: '5m', min_ms: '10', kind: undefined })).toEqual(['plugin a', 'text \u201cx y\u201d', 'of the last 5m', 'took at least 10 ms']);
  });
});

test('neighbours are those of the list', () => {
  expect(neighbours(['c', 'b', 'a'], 'b')).toEqual({ newer: 'c', older: 'a' });
  expect(neighbours(['c', 'b', 'a'], 'c')).toEqual({ newer: null, older: 'b' });
  expect(neighbours(['c'], 'x')).toEqual({ newer: null, older: null });
});
