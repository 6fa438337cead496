import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { curlOf, quote } from './curl';

test('a shell reads back what was quoted', () => {
  for (const text of [`it's`, '$(id) `id` "x" \\ \n', '', `'''`, 'ü!']) {
    expect(execFileSync('/bin/sh', ['-c', `printf %s ${quote(text)}`], { encoding: 'utf8', env: { PATH: '/nowhere', HOME: '/nowhere' } })).toBe(text);
  }
});

test('the command has the body and only the name of the token', () => {
  const command = curlOf('http://localhost:7717', 'a', { input: { who: `O'Hara` } }, true);
  expect(command).toContain(`{"input":{"who":"O'\\''Hara"}}`);
  expect(command).toContain('Bearer $SPANGLASS_TOKEN');
  expect(curlOf('http://localhost:7717', 'a', {}, false)).not.toContain('Bearer');
});
