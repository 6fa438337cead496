import { expect, test } from 'vitest';
import { alignSteps, changeRows, steps } from './comparison';
import { buildTree } from './tree';

const span = (span_id: string, parent_span_id: string | null, name: string, ms: number) => ({
  span_id,
  parent_span_id,
  name,
  kind: 'internal',
  start: '2026-11-28T06:38:00Z',
  duration_ms: ms,
  attributes: {},
  events: [],
});

test('changes show a value on each side that has one', () => {
  expect(
    changeRows([
      { op: 'changed', pointer: '/score', old: 0.5, new: '0.5' },
      { op: 'added', pointer: '/why', new: null },
      { op: 'removed', pointer: '', old: { a: 1 } },
      { op: 'changed', pointer: '/text', old: '"abc', new: '"abd', truncated: true },
    ]).map((row) => [row.pointer, row.old, row.new]),
  ).toEqual([
    ['/score', '0.5', '"0.5"'],
    ['/why', null, 'null'],
    ['(whole)', '{"a":1}', null],
    ['/text', '"abc\u2026', '"abd\u2026'],
  ]);
});

test('steps add up spans of one name, and stand side by side', () => {
  const before = steps(buildTree([span('r', null, 'invoke p', 9), span('a', 'r', 'attempt', 3), span('b', 'r', 'attempt', 4), span('q', 'a', 'queue', 1), span('o', null, 'other', 1)]), 'r');
  expect(before).toEqual([
    { path: ['attempt'], count: 2, ms: 7 },
    { path: ['attempt', 'queue'], count: 1, ms: 1 },
  ]);
  const after = steps(buildTree([span('r', null, 'invoke p', 9), span('a', 'r', 'attempt', 5), span('p', 'a', 'prepare', 2), span('e', 'a', 'execute', 2)]), 'r');
  expect(alignSteps(before, after).map((row) => [row.path.join('/'), row.before?.ms, row.after?.ms])).toEqual([
    ['attempt', 7, 5],
    ['attempt/prepare', undefined, 2],
    ['attempt/execute', undefined, 2],
    ['attempt/queue', 1, undefined],
  ]);
  const deep = (path: string) => ({ path: path.split('/'), count: 1, ms: 1 });
  expect(alignSteps([deep('a'), deep('a/x')], [deep('a'), deep('a/y'), deep('b')]).map((row) => row.path.join('/'))).toEqual(['a', 'a/y', 'a/x', 'b']);
  expect(steps(buildTree([]), 'r')).toEqual([]);
});
