// A server that wants a token: the page takes it once, keeps it out of the address, and sends it.
import { expect, test } from './support/test';
import { python } from './support/runner';

const TOKEN = 'a-token-of-the-test';

test('/#token= opens the page, and the token is not in the address any more', async ({ page, context, start, open }) => {
  const runner = await start({ token: TOKEN, plugins: python('echo', 'return input_data') });
  const sent: string[] = [];
  context.on('request', (request) => {
    if (new URL(request.url()).pathname.startsWith('/v1/')) sent.push(request.headers().authorization ?? 'nothing');
  });
  await open(`/#token=${TOKEN}`);
  await expect(page.getByRole('table', { name: 'Plugins' })).toContainText('echo');
  expect(page.url()).not.toContain(TOKEN);
  await expect(page.getByRole('status').filter({ hasText: 'live' })).toBeVisible();
  expect(new Set(sent)).toEqual(new Set([`Bearer ${TOKEN}`]));
  await page.goto(`${runner.url}/invocations`);
  await runner.invoke('echo', { word: 'secured' });
  await expect(page.getByRole('table', { name: 'Calls, newest first' })).toContainText('word=secured');
  // Not in what another tab or a history sees.
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain(TOKEN);
  expect(await page.evaluate(() => document.documentElement.outerHTML)).not.toContain(TOKEN);
});

test('without one the page asks for it, and goes on', async ({ page, start, open, guard }) => {
  await start({ token: TOKEN, plugins: python('echo', 'return input_data') });
  guard.allow({ url: '/v1/', status: 401 });
  await open('/');
  await expect(page.getByRole('alert').first()).toContainText('unauthenticated');
  await expect(page.getByRole('status').filter({ hasText: 'not live' })).toBeVisible();
  await page.getByLabel('Token').first().fill(TOKEN);
  await page.getByRole('button', { name: 'Use it' }).first().click();
  await expect(page.getByRole('table', { name: 'Plugins' })).toContainText('echo');
  await expect(page.getByRole('status').filter({ hasText: /^live$/ })).toBeVisible();
});
