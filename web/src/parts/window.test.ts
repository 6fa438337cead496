import { expect, test } from 'vitest';
import { scrollFor, visibleRows } from './window';

test('only rows in view and some around them', () => {
  expect(visibleRows(0, 100, 20, 1000, 2)).toEqual({ first: 0, end: 7 });
  expect(visibleRows(2000, 100, 20, 1000, 2)).toEqual({ first: 98, end: 107 });
  expect(visibleRows(99_999, 100, 20, 10, 2)).toEqual({ first: 10, end: 10 });
  expect(visibleRows(0, 100, 20, 0, 2)).toEqual({ first: 0, end: 0 });
});

test('scrolls as little as needed', () => {
  expect([scrollFor(5, 0, 100, 20), scrollFor(1, 0, 100, 20), scrollFor(1, 60, 100, 20)]).toEqual([20, 0, 20]);
});
