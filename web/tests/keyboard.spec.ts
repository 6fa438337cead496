// Everything without a mouse.
import type { Page } from '@playwright/test';
import { expect, test } from './support/test';

const heading = (page: Page) => page.getByRole('heading', { level: 1 });

test('g and a letter goes to each view', async ({ page, open }) => {
  await open('/');
  await expect(heading(page)).toHaveText('Plugins');
  for (const [key, name] of [['i', 'Invocations'], ['l', 'Logs'], ['e', 'Errors'], ['a', 'Alerts'], ['r', 'Drift'], ['h', 'Health'], ['d', 'API'], ['p', 'Plugins']] as const) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await expect(heading(page)).toHaveText(name);
  }
});

test('? opens all keys, Esc closes them and gives the focus back', async ({ page, open }) => {
  await open('/invocations');
  await expect(heading(page)).toBeVisible();
  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  await expect(dialog).toContainText('next call');
  await expect(dialog).toContainText('Go to');
  // Keys of the view rest while it is open.
  await page.keyboard.press('g');
  await page.keyboard.press('l');
  await expect(heading(page)).toHaveText('Invocations');
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
});

test('/ searches; a letter in the field is a letter', async ({ page, open }) => {
  await open('/invocations');
  await expect(heading(page)).toBeVisible();
  await page.keyboard.press('/');
  await expect(page.getByRole('searchbox')).toBeFocused();
  await page.keyboard.type('gi?');
  await expect(page.getByRole('searchbox')).toHaveValue('gi?');
  await expect(page.getByRole('dialog')).toBeHidden();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('searchbox')).not.toBeFocused();
});

test('j and k choose a call, Enter opens it, Esc goes back', async ({ page, open }) => {
  await open('/invocations?plugin=fraud-score&outcome=failed');
  const rows = page.getByRole('table', { name: 'Calls, newest first' }).locator('[data-row]');
  await expect(rows.first()).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  const chosen = page.locator('[data-row].selected');
  await expect(chosen).toHaveCount(1);
  const target = await chosen.getByRole('link').getAttribute('href');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`${target}$`));
  await expect(heading(page)).toContainText('fraud-score');
  await page.keyboard.press('Escape');
  await expect(page).toHaveURL(/\/invocations\?plugin=fraud-score&outcome=failed$/);
});

test('j and Enter open a plugin, a log line, a group of errors', async ({ page, open }) => {
  await open('/');
  await expect(page.getByRole('table', { name: 'Plugins' }).locator('tbody tr').first()).toBeVisible();
  // Rows can be seen a moment before keys are heard.
  await expect(async () => {
    await page.keyboard.press('j');
    await expect(page.locator('tr.selected')).toHaveCount(1, { timeout: 500 });
  }).toPass();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/plugins\/[a-z-]+$/);
  await open('/logs?plugin=fraud-score');
  await expect(page.getByRole('table', { name: /Log lines/ }).getByRole('row').first()).toBeVisible();
  await page.keyboard.press('j');
  await expect(page.getByRole('complementary', { name: 'Log line' })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/traces\//);
  await open('/errors');
  await expect(page.locator('[data-group="0"]')).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/invocations\/[0-9a-f-]{36}$/);
});

test('in a trace: j chooses a span, [ closes it, ] opens it, a digit chooses a tab', async ({ page, open, demo }) => {
  const { items } = await demo.get('/v1/invocations?plugin=fraud-score&outcome=failed&limit=1');
  await open(`/invocations/${items[0].invocation_id}`);
  const spans = page.getByRole('treegrid', { name: 'Spans' });
  await expect(spans).toContainText('execute');
  await page.keyboard.press('j');
  await expect(spans.locator('[aria-selected="true"]')).toContainText('invoke fraud-score');
  await page.keyboard.press('[');
  await expect(spans).not.toContainText('execute');
  await page.keyboard.press(']');
  await expect(spans).toContainText('execute');
  await page.keyboard.press('5');
  await expect(page.getByRole('tab', { name: 'Replay' })).toHaveAttribute('aria-selected', 'true');
});

test('Tab reaches content past the navigation, and where the focus is can be seen', async ({ page, open }) => {
  await open('/');
  await expect(page.getByRole('table', { name: 'Plugins' })).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('main')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('searchbox')).toBeFocused();
  const seen: string[] = [];
  for (let step = 0; step < 20; step++) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const style = getComputedStyle(element);
      const marked = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
      return { name: `${element.tagName} ${element.textContent?.slice(0, 30)}`, marked, inMain: Boolean(element.closest('main')) };
    });
    expect(focus.marked, `the focus cannot be seen on ${focus.name}`).toBe(true);
    if (focus.inMain) seen.push(focus.name);
  }
  expect(new Set(seen).size).toBeGreaterThan(5);
});

test('a dialog keeps the focus and gives it back', async ({ page, open }) => {
  await open('/plugins/fraud-score');
  const back = page.getByRole('button', { name: /^Roll back to/ });
  await back.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('textbox')).toBeFocused();
  for (let step = 0; step < 8; step++) {
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement === document.body || Boolean(document.activeElement?.closest('dialog')))).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(back).toBeFocused();
});

test('tabs go with the arrows', async ({ page, open }) => {
  await open('/plugins/fraud-score');
  await page.getByRole('tab', { name: 'Charts' }).focus();
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('tab', { name: 'Try it' })).toBeFocused();
  await expect(page).toHaveURL(/tab=try/);
});
