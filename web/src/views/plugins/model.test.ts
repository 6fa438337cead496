import { expect, test } from 'vitest';
import type { Overview, Plugin } from '../../api/model';
import { rowsOf } from './model';

const plugin = (name: string, description = '') => ({ name, description }) as Plugin;
const overview = (...names: string[]) => ({ items: names.map((name) => ({ plugin: name })) }) as Overview;

test('a plugin without calls and one that is gone are rows too, by name', () => {
  const rows = rowsOf([plugin('b'), plugin('a')], overview('c', 'b'));
  expect(rows.map((row) => [row.name, row.plugin !== null, row.rates !== null])).toEqual([
    ['a', true, false],
    ['b', true, true],
    ['c', false, true],
  ]);
});

test('the search looks at names and descriptions', () => {
  expect(rowsOf([plugin('a', 'Sends MAIL'), plugin('b')], null, ' mail ').map((row) => row.name)).toEqual(['a']);
});
