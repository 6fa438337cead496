import { expect, test } from 'vitest';
import type { Series, SeriesAnswer } from '../../api/model';
import { errorRatio, markersOf, specsOf, stepOf } from './model';

const nothing = { refused: [0, 0, 0], dropped: [0, 0, 0], p50_ms: [1, null, 3], p95_ms: [1, 1, 1], p99_ms: [1, 1, 1], queue_ms: [], cpu_ms: [1000, 0, 0], memory_peak_bytes: [0, 5, 5], cold_starts: [] };
const series = (version: string | null, calls: number[], errors: number[]): Series => ({ plugin: 'a', version, calls, errors, ...nothing });
const answer = (list: Series[], until = 30, complete: number | null = null): SeriesAnswer => ({
  step_s: 10, times: [0, 10, 20], buckets_ms: [], series: list,
  from: new Date(0).toISOString(), until: new Date(until * 1000).toISOString(), complete_from: complete === null ? null : new Date(complete * 1000).toISOString(),
});
const specs = (given: SeriesAnswer) => specsOf(given, given, ['1.0.0'], [], () => {});

test('calls that are the caller\'s fault are not in the ratio; no calls are no ratio', () => {
  const one = { ...series('1.0.0', [10, 0, 4], [2, 0, 4]), refused: [5, 0, 0], dropped: [1, 0, 0] };
  expect([0, 1, 2].map((index) => errorRatio(one, index))).toEqual([0.5, null, 1]);
});

test('the step that is not over is measured by what is over of it, or left out', () => {
  expect(specs(answer([series('1.0.0', [100, 100, 50], [0, 0, 0])], 25)).rate.lines[0]?.values).toEqual([10, 10, 10]);
  expect(specs(answer([series('1.0.0', [100, 100, 9], [0, 0, 0])], 22)).rate.times).toEqual([0, 10]);
});

test('what was before the series began is a gap', () => {
  expect(specs(answer([series('1.0.0', [0, 0, 100], [0, 0, 0])], 30, 25)).rate.lines[0]?.values).toEqual([null, null, 10]);
});

test('a version keeps its colour when others come or have no calls', () => {
  const colours = (versions: string[], ...named: string[]) => {
    const given = answer(named.map((name) => series(name, [1, 1, 1], [0, 0, 0])));
    return specsOf(given, given, versions, [], () => {}).rate.lines.map((line) => line.colour);
  };
  expect(colours(['1.0.0', '1.1.0'], '1.1.0', '1.0.0')).toEqual([2, 1]);
  expect(colours(['1.0.0', '1.1.0', '2.0.0'], '1.1.0')).toEqual([2]);
  expect(colours(['1.0.0'], '0.9.0', '1.0.0')).toEqual([2, 1]);
});

test('a few minutes are shown in steps of ten seconds', () => {
  expect([60_000, 300_000, 900_000].map((ms) => stepOf(0, ms))).toEqual([undefined, '10s', undefined]);
});

const change = (at: number, version: string, from: string, to: string, more = {}) => ({ at: new Date(at * 1000).toISOString(), version, from, to, cause: null, by: 'ann', reason: null, ...more });

test('transitions of one moment are one mark', () => {
  const marks = markersOf([
    change(90, '1.1.0', 'running', 'running', { cause: 'rolled back to 1.0.0', reason: 'too slow' }),
    change(60, '1.1.0', 'running', 'registered', { reason: 'wrong totals' }),
    change(30.5, '1.1.0', 'registered', 'failed', { cause: 'no module x' }),
    change(30, '1.1.0', 'initialized', 'registered'),
    change(1, '1.0.0', 'registered', 'running'),
    change(1, '1.0.0', 'initialized', 'registered'),
  ]);
  expect(marks).toEqual([
    { at: 1, label: '1.0.0 registered', detail: 'by ann', bad: false },
    { at: 30, label: '1.1.0 failed', detail: 'by ann: no module x', bad: true },
    { at: 60, label: '1.1.0 disabled', detail: 'by ann: wrong totals', bad: false },
    { at: 90, label: '1.1.0 rolled back to 1.0.0', detail: 'by ann: too slow', bad: false },
  ]);
});
