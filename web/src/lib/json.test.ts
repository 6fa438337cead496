import { describe, expect, test } from 'vitest';
import { jsonRows, openSmall, pointer } from './json';

const all = () => true;
const none = () => false;

describe('rows of a JSON value', () => {
  test('are one for each value and each closing bracket', () => {
    const rows = jsonRows({ a: 1, b: [true, null], c: {} }, all);
    expect(rows.map((row) => [row.depth, row.key, row.kind, row.text])).toEqual([
      [0, null, 'object', '{'],
      [1, 'a', 'number', '1'],
      [1, 'b', 'array', '['],
      [2, '0', 'boolean', 'true'],
      [2, '1', 'null', 'null'],
      [1, null, 'close', ']'],
      [1, 'c', 'object', '{}'],
      [0, null, 'close', '}'],
    ]);
  });
  test('stop at what is closed', () => {
    expect(jsonRows({ a: [1, 2, 3] }, (path) => path === '').map((row) => [row.path, row.size, row.open])).toEqual([
      ['', 1, true],
      ['/a', 3, false],
      ['#close', 0, null],
    ]);
  });
  test('show long lists in parts', () => {
    const list = Array.from({ length: 250 }, (_, index) => index);
    const rows = jsonRows(list, (path) => path === '' || path === '#100');
    expect(rows.filter((row) => row.kind === 'part').map((row) => row.text)).toEqual(['[0 \u2026 99]', '[100 \u2026 199]', '[200 \u2026 249]']);
    expect(rows.find((row) => row.path === '/150')?.text).toBe('150');
    expect(rows.find((row) => row.path === '/50')).toBeUndefined();
  });
  test('cut long strings, and open them into lines', () => {
    const value = 'x'.repeat(500) + '\nend';
    const [closed] = jsonRows(value, none);
    expect(closed).toMatchObject({ kind: 'string', open: false, size: 504 });
    expect(closed!.text.length).toBeLessThan(210);
    expect(jsonRows(value, all).map((row) => row.text.length).slice(1)).toEqual([160, 160, 160, 20, 3]);
  });
  test('survive depth that would overflow a stack', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 20_000; i++) deep = [deep];
    expect(jsonRows(deep, all)).toHaveLength(40_001);
  });
  test('name places by JSON Pointer', () => {
    expect(pointer('/a', 'b/c~d')).toBe('/a/b~1c~0d');
  });
});

test('small documents are seen whole, large ones from above', () => {
  const small = { a: { b: { c: [1, 2] } } };
  expect(jsonRows(small, openSmall(small))).toHaveLength(10);
  const large = { rows: Array.from({ length: 5000 }, () => ({ x: 1, y: 2 })), note: 'n' };
  expect(jsonRows(large, openSmall(large)).map((row) => row.key)).toEqual([null, 'rows', 'note', null]);
  const wide = Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`k${index}`, [index]]));
  expect(jsonRows(wide, openSmall(wide))).toHaveLength(1);
});
