import { expect, test } from 'vitest';
import { find, type Shortcut } from './keys';

const key = (keys: string, what = keys): Shortcut => ({ keys, what, group: '', run: () => {} });
const list = [key('g p'), key('p'), key('?'), key('j', 'first'), key('j', 'second')];

test('two keys after each other go before the second alone; the newest registration wins', () => {
  expect(find(list, 'g', 'p')?.keys).toBe('g p');
  expect(find(list, null, 'p')?.keys).toBe('p');
  expect(find(list, 'x', 'p')?.keys).toBe('p');
  expect(find(list, null, 'j')?.what).toBe('second');
  expect(find(list, null, 'g')).toBeNull();
});
