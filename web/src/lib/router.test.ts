import { beforeAll, expect, test, vi } from 'vitest';

// The router reads the address once when it is loaded.
beforeAll(() => void vi.stubGlobal('location', { pathname: '/', search: '', origin: 'http://here' }));

test('a path gives the values of its places', async () => {
  const { match } = await import('./router');
  expect(match('/plugins/{name}', '/plugins/a%20b')).toEqual({ name: 'a b' });
  expect(match('/plugins/{name}', '/plugins/a/')).toEqual({ name: 'a' });
  expect(match('/', '/')).toEqual({});
  expect(match('/plugins/{name}', '/plugins/')).toBeNull();
  expect(match('/plugins/{name}', '/plugins/a/b')).toBeNull();
  expect(match('/plugins/{name}', '/plugins/%')).toBeNull();
});

test('an address leaves out what is empty', async () => {
  const { addressOf } = await import('./router');
  expect(addressOf.plugin('a/b', { since: '5m', until: null, version: '' })).toBe('/plugins/a%2Fb?since=5m');
});

test('only http and https lead outside', async () => {
  const { outsideLink } = await import('./router');
  expect(['/docs/a', 'https://x/y', 'javascript:alert(1)', ' JavaScript:alert(1)', 'data:text/html,x', 'https://[', '', null].map(outsideLink)).toEqual(['/docs/a', 'https://x/y', null, null, null, null, null, null]);
});
