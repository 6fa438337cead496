import { expect, test } from 'vitest';
import { explain, rollbackTarget } from './change';

const version = (name: string, state: 'running' | 'registered' = 'running', held_back = false) => ({ version: name, state, held_back });

test('a rollback goes to the next lower version that takes calls', () => {
  const versions = [version('3.0.0'), version('2.0.0', 'registered'), version('1.5.0', 'running', true), version('1.0.0')];
  expect(rollbackTarget({ version: '3.0.0' }, versions)).toBe('1.0.0');
  expect(rollbackTarget({ version: '1.0.0' }, versions)).toBeNull();
  expect(rollbackTarget({ version: null }, versions)).toBeNull();
});

test('it is said that the version which gets the calls is taken away', () => {
  expect(explain({ what: 'disable', version: '2.0.0' }, { name: 'a', version: '2.0.0' }).means[0]).toContain('gets the calls now');
  expect(explain({ what: 'disable', version: '1.0.0' }, { name: 'a', version: '2.0.0' }).means[0]).not.toContain('now');
});
