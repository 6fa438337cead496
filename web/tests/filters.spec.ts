// A filter lives in the address: it survives a reload, a link, and the way back.
import { expect, test } from './support/test';

test('a chosen filter is in the address, narrows the list, and survives a reload', async ({ page, open }) => {
  await open('/invocations');
  await page.getByRole('combobox', { name: 'plugin' }).selectOption('fraud-score');
  await page.getByRole('combobox', { name: 'outcome' }).selectOption('failed');
  await expect(page).toHaveURL(/plugin=fraud-score/);
  await expect(page).toHaveURL(/outcome=failed/);
  const rows = page.getByRole('table', { name: 'Calls, newest first' }).locator('[data-row]');
  const allFit = () => rows.evaluateAll((all) => all.length > 0 && all.every((row) => row.textContent?.includes('fraud-score') && row.textContent.includes('plugin_error')));
  await expect.poll(allFit).toBe(true);
  await page.reload();
  await expect(page.getByRole('combobox', { name: 'outcome' })).toHaveValue('failed');
  await expect.poll(allFit).toBe(true);
});

test('back leads to the list as it was left', async ({ page, open }) => {
  await open('/invocations?plugin=text-stats');
  const rows = page.getByRole('table', { name: 'Calls, newest first' }).locator('[data-row]');
  await rows.first().getByRole('link').click();
  await expect(page).toHaveURL(/\/invocations\/[0-9a-f-]{36}$/);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('text-stats');
  await page.goBack();
  await expect(page).toHaveURL(/\/invocations\?plugin=text-stats$/);
  await expect(rows.first()).toContainText('text-stats');
  await page.goForward();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('text-stats');
});

test('two views after each other, and back through both', async ({ page, open }) => {
  await open('/');
  await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: 'Logs' }).click();
  await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: 'Health' }).click();
  await page.goBack();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Logs');
  await page.goBack();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Plugins');
});

for (const [view, names] of [
  ['/invocations?plugin=fraud-score&outcome=dropped&q=nothinglikethis', ['fraud-score', 'dropped', 'nothinglikethis']],
  ['/logs?plugin=slow&level=fatal&q=nothinglikethis', ['slow', 'fatal', 'nothinglikethis']],
  ['/errors?plugin=text-stats&blame=host', ['text-stats', 'host']],
  ['/?q=nothinglikethis', ['nothinglikethis']],
] as const) {
  test(`an empty list names its filters and can drop them: ${view}`, async ({ page, open }) => {
    await open(view);
    const empty = page.getByRole('main').locator('.empty');
    for (const name of names) await expect(empty).toContainText(name);
    await empty.getByRole('button', { name: /clear/i }).first().click();
    await expect(page).not.toHaveURL(new RegExp(names[0]));
  });
}

test('a search finds what calls were given and answered, and why they failed', async ({ page, open }) => {
  await open('/invocations');
  await page.getByRole('searchbox').fill('division by zero');
  await expect(page).toHaveURL(/q=division/);
  const rows = page.getByRole('table', { name: 'Calls, newest first' }).locator('[data-row]');
  await expect.poll(() => rows.evaluateAll((all) => all.length > 0 && all.every((row) => row.textContent?.includes('plugin_error')))).toBe(true);
});

test('a link to one thing from outside is enough', async ({ page, open, demo }) => {
  const { items } = await demo.get('/v1/invocations?plugin=fraud-score&outcome=failed&limit=1');
  await open(`/invocations/${items[0].invocation_id}?tab=logs`);
  await expect(page.getByRole('tab', { name: /^Logs/ })).toHaveAttribute('aria-selected', 'true');
  await expect(page.getByRole('region', { name: 'Error' })).toBeVisible();
});
