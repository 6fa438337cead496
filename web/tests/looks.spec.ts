// Light and dark, a phone, and what axe finds.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from './support/test';
import type { Runner } from './support/runner';

/** Every view, with something in it; addresses that need an id are looked up. */
async function views(demo: Runner): Promise<Record<string, string>> {
  const { items } = await demo.get('/v1/invocations?plugin=fraud-score&version=1.1.0&outcome=failed&limit=1');
  const { invocation_id: id, trace_id: trace } = items[0];
  return {
    plugins: '/',
    plugin: '/plugins/fraud-score',
    'plugin, try': '/plugins/fraud-score?tab=try',
    'plugin, versions': '/plugins/fraud-score?tab=versions',
    'plugin, about': '/plugins/fraud-score?tab=about',
    invocations: '/invocations',
    invocation: `/invocations/${id}`,
    'invocation, logs': `/invocations/${id}?tab=logs`,
    'invocation, input and output': `/invocations/${id}?tab=io`,
    'invocation, usage': `/invocations/${id}?tab=usage`,
    'invocation, replay': `/invocations/${id}?tab=replay`,
    trace: `/traces/${trace}`,
    logs: '/logs',
    errors: '/errors',
    alerts: '/alerts',
    drift: '/drift',
    'drift, a version': '/drift/fraud-score',
    health: '/health',
    api: '/api',
    'api, an operation': '/api?op=invoke',
    nowhere: '/invocations/nonsense',
  };
}

/** A view is there when it has a heading and nothing is still being fetched for the first time. */
async function settled(page: Page): Promise<void> {
  await expect(page.getByRole('main').getByRole('heading').first()).toBeVisible();
  await expect(page.locator('main .waiting, main .waiting-part, main [aria-busy="true"]')).toHaveCount(0);
}

for (const scheme of ['light', 'dark'] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme });

    test('axe finds nothing serious', async ({ page, open, demo, guard }) => {
      test.setTimeout(180_000);
      guard.allow({ url: '/v1/invocations/nonsense' });
      const found: string[] = [];
      for (const [name, view] of Object.entries(await views(demo))) {
        await open(view);
        await settled(page);
        const { violations } = await new AxeBuilder({ page }).analyze();
        for (const { id, impact, nodes } of violations) {
          const text = `${name}: ${impact} ${id}: ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${node.any[0]?.message ?? node.failureSummary ?? ''}`).join(' | ')}`;
          if (impact === 'serious' || impact === 'critical') found.push(text);
          else console.log(`      axe, not serious: ${text}`);
        }
      }
      expect(found).toEqual([]);
    });

    test('the page is as the system says, with text that can be read', async ({ page, open }) => {
      await open('/');
      await settled(page);
      const brightness = await page.evaluate(() => {
        const of = (colour: string) => (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number).reduce((sum, part) => sum + part, 0) / 3;
        const style = getComputedStyle(document.body);
        return { ground: of(style.backgroundColor), text: of(style.color) };
      });
      if (scheme === 'dark') expect(brightness.ground).toBeLessThan(60);
      else expect(brightness.ground).toBeGreaterThan(220);
      expect(Math.abs(brightness.ground - brightness.text)).toBeGreaterThan(120);
    });
  });
}

test('the switch goes over what the system says, and a reload keeps it', async ({ page, open }) => {
  await open('/');
  await settled(page);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const system = await ground();
  const button = page.getByRole('button', { name: /^Theme:/ });
  await button.click();
  await expect(button).toHaveAccessibleName('Theme: light');
  expect(await ground()).toBe(system);
  await page.keyboard.press('Escape');
  await button.click();
  await expect(button).toHaveAccessibleName('Theme: dark');
  const dark = await ground();
  expect(dark).not.toBe(system);
  await page.reload();
  await settled(page);
  expect(await ground()).toBe(dark);
  await button.click();
  expect(await ground()).toBe(system);
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true });

  test('no view is wider than it', async ({ page, open, demo, guard }) => {
    test.setTimeout(120_000);
    guard.allow({ url: '/v1/invocations/nonsense' });
    const wide: string[] = [];
    for (const [name, view] of Object.entries(await views(demo))) {
      await open(view);
      await settled(page);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > 375) {
        const culprit = await page.evaluate(() => {
          const beyond = [...document.querySelectorAll('main *, header *')].filter((element) => element.getBoundingClientRect().right > 376);
          return beyond.slice(0, 3).map((element) => `${element.tagName.toLowerCase()}.${element.className}`);
        });
        wide.push(`${name}: ${width} px, ${culprit.join(', ')}`);
      }
    }
    expect(wide).toEqual([]);
  });

  test('the navigation reaches every view, and a row opens with a touch', async ({ page, open }) => {
    await open('/');
    await settled(page);
    for (const name of ['Invocations', 'Logs', 'Errors', 'Alerts', 'Drift', 'Health', 'API']) {
      await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name }).tap();
      await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
    }
    await open('/invocations?plugin=fraud-score');
    await page.getByRole('table', { name: 'Calls, newest first' }).locator('[data-row]').first().getByRole('link').tap();
    await expect(page.getByRole('heading', { level: 1 })).toContainText('fraud-score');
  });
});
