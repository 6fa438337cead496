// Addresses as they are mistyped, cut off, or made by somebody who means harm.
import { expect, test } from './support/test';

for (const [view, says] of [
  ['/invocations/nonsense', /the id of an invocation is a UUID/],
  ['/invocations/00000000-0000-7000-8000-000000000000', /not kept/],
  ['/traces/nonsense', /the id of a trace is 32 hex digits/],
  ['/traces/00000000000000000000000000000001', /not kept/],
  ['/plugins/nobody', /nobody/],
  ['/plugins/%3Cscript%3Ealert(1)%3C%2Fscript%3E', /<script>alert\(1\)/],
  ['/plugins/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E', /<img src=x/],
] as const) {
  test(`${view} says what is wrong`, async ({ page, open, guard }) => {
    guard.allow({ url: /\/v1\/(invocations|traces|plugins)\//, status: 404 }, { url: /\/v1\/(invocations|traces|plugins)\//, status: 422 });
    await open(view);
    const main = page.getByRole('main');
    await expect(main).toContainText(says);
    await expect(main.getByRole('link').first()).toBeVisible();
    expect(await main.locator('script, img').count()).toBe(0);
    expect(await page.title()).toMatch(/ · spanglass$/);
  });
}

for (const query of ['?since=yesterday', '?outcome=sideways', '?level=<b>loud</b>', '?kind=%00', '?limit=-1', '?q=%22%27%3C%3E', '?min_ms=abc&max_ms=-1', '?until=2020-01-01T00:00:00Z']) {
  test(`/invocations${query} shows a list, or why not`, async ({ page, open, guard }) => {
    guard.allow({ url: '/v1/invocations?', status: 422 }, { url: '/v1/stream?', status: 422 });
    await open(`/invocations${query}`);
    await expect(page.getByRole('main').locator('[data-row], .empty, [role="alert"]').first()).toBeVisible();
    await page.goto('about:blank');
  });
}

test('an address of no view says so', async ({ page, open, guard }) => {
  guard.allow({ url: '/nowhere', status: 404 });
  await open('/');
  await page.evaluate(() => history.pushState(null, '', '/nowhere/at/all'));
  await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
  await expect(page.getByRole('main')).toContainText('Nothing is at this address');
  await page.getByRole('main').getByRole('link').click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Plugins');
});
