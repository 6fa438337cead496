import { expect, test } from 'vitest';
import type { SeriesAnswer } from '../../api/model';
import { heatOf, queryOf, strength } from './heat';

const answer = (heat: number[][]): SeriesAnswer =>
  ({ step_s: 10, from: '', until: '', times: heat.map((_, index) => index * 10), buckets_ms: [1, 10, 100, 1000], complete_from: null, series: [{ heat }] }) as unknown as SeriesAnswer;

test('steps are put together, and empty buckets beyond the neighbours are left out', () => {
  const heat = heatOf(answer([[0, 0, 1, 0, 0], [0, 0, 2, 0, 0], [0, 0, 4, 0, 0]]), 2);
  expect(heat?.columns).toEqual([{ from: 0, to: 20 }, { from: 20, to: 30 }]);
  expect(heat?.rows).toEqual([{ min: 1, max: 10 }, { min: 10, max: 100 }, { min: 100, max: 1000 }]);
  expect(heat?.counts).toEqual([[0, 3, 0], [0, 4, 0]]);
  expect([heat?.top, heat?.total]).toEqual([4, 7]);
});

test('without calls there is no heatmap', () => {
  expect(heatOf(answer([[0, 0, 0, 0, 0]]), 10)).toBeNull();
  expect(heatOf(answer([]), 10)).toBeNull();
});

test('a cell asks for the calls that ended in it', () => {
  const heat = heatOf(answer([[0, 0, 0, 0, 3]]), 10);
  const top = (heat?.rows.length ?? 0) - 1;
  expect(heat && queryOf(heat, 0, top)).toEqual({ since: '1969-12-31T23:59:56.000Z', until: '1970-01-01T00:00:10.000Z', min_ms: '1000' });
  expect(heat && queryOf(heat, 0, 0)).toMatchObject({ min_ms: '100', max_ms: '1000', since: '1969-12-31T23:59:59.000Z' });
});

test('one call among many is seen', () => {
  expect(strength(0, 10_000)).toBe(0);
  expect(strength(1, 10_000)).toBeGreaterThan(0.14);
  expect(strength(10_000, 10_000)).toBe(1);
});
