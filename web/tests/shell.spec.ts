// What stands around every view.
import { expect, test } from './support/test';

const VIEWS = ['/', '/plugins/fraud-score', '/invocations', '/logs', '/errors', '/alerts', '/drift', '/health', '/api'];

for (const view of VIEWS) {
  test(`${view} comes after a reload, live, with a heading`, async ({ page, open }) => {
    await open(view);
    await expect(page.getByRole('status').filter({ hasText: 'live' })).toBeVisible();
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    expect(await page.title()).toMatch(/ · spanglass$/);
    await page.reload();
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  });
}
