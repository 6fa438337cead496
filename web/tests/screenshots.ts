// The pictures of docs/images: a real demo, some minutes old, its release out and not rolled back.
import { execFileSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Page } from '@playwright/test';
import { expect, startDemo, test } from './support/test';

/** Tracebacks and the view of health show it. */
const FOLDER = '/var/tmp/spanglass';
const IMAGES = resolve(import.meta.dirname, '../../docs/images');

test('screenshots', async ({ page, at, open }) => {
  test.setTimeout(10 * 60_000);
  // Long enough for the charts to show what was before the release, and the alert what came after.
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER);
  const demo = await startDemo('60s', { folder: FOLDER });
  at.started.push((at.runner = demo));
  await demo.until('an alert that fires', async () => {
    const { items } = await demo.get('/v1/alerts');
    return items.some((alert: { state: string; plugin: string | null }) => alert.state === 'firing' && alert.plugin === 'fraud-score');
  }, 5 * 60_000);
  const failed = (await demo.get('/v1/invocations?plugin=fraud-score&version=1.1.0&outcome=failed&limit=1')).items[0].invocation_id;

  await open('/');
  await shoot(page, 'plugins');
  await open('/plugins/fraud-score?since=5m');
  await shoot(page, 'plugin');
  await open('/plugins/fraud-score?tab=try');
  await page.getByRole('button', { name: 'Invoke' }).click();
  await expect(page.getByRole('region', { name: 'Reply' })).toContainText('Trace and logs of this call');
  await page.evaluate(() => scrollTo(0, 0));
  await shoot(page, 'try');
  await open('/invocations');
  await shoot(page, 'invocations');
  await open(`/invocations/${failed}?lines=1`);
  await expect(page.getByRole('treegrid', { name: 'Spans' })).toContainText('execute');
  await shoot(page, 'invocation');
  await open(`/invocations/${failed}?tab=replay`);
  await page.getByRole('button', { name: 'Replay', exact: true }).click();
  await expect(page.getByRole('article', { name: 'Replay on 1.0.0' })).toContainText('Time by step');
  await page.getByRole('article', { name: 'Replay on 1.0.0' }).evaluate((result) => scrollTo(0, result.getBoundingClientRect().top + scrollY - 100));
  await shoot(page, 'replay');
  await open('/logs?plugin=fraud-score');
  await page.getByRole('table', { name: /Log lines/ }).getByRole('row').nth(2).click();
  await shoot(page, 'logs');
  await open('/errors');
  await shoot(page, 'errors');
  await open('/alerts');
  await shoot(page, 'alerts');
  const drifting = await demo.until('a field that drifts', async () => {
    const { items } = await demo.get('/v1/drift');
    return items.find((one: { state: string }) => one.state === 'alert') as { plugin: string; version: string } | undefined;
  }, 3 * 60_000);
  await open(`/drift/${drifting.plugin}?version=${drifting.version}`);
  await expect(page.locator('.u-over').first()).toBeVisible();
  await shoot(page, 'drift');
  await open('/health');
  await shoot(page, 'health');
  await open('/api?op=invoke');
  await shoot(page, 'api');

  await page.setViewportSize({ width: 390, height: 800 });
  await open('/');
  await shoot(page, 'phone-plugins');
  await open(`/invocations/${failed}`);
  await shoot(page, 'phone-invocation');
  await demo.stop();
  await rm(FOLDER, { recursive: true, force: true });
});

async function shoot(page: Page, name: string): Promise<void> {
  await expect(page.getByRole('main').getByRole('heading').first()).toBeVisible();
  await expect(page.locator('main .waiting, main .waiting-part, main [aria-busy="true"]')).toHaveCount(0);
  await page.mouse.move(0, 0);
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    // Charts are drawn anew in the next frames.
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    const path = `${IMAGES}/${name}-${scheme}.png`;
    await page.screenshot({ path, animations: 'disabled' });
    shrink(path);
  }
}

/** Few colours are enough for a page; without the program the picture is larger, not other. */
function shrink(path: string): void {
  try {
    execFileSync('pngquant', ['--force', '--skip-if-larger', '--quality=70-95', '--strip', '--output', path, path]);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') console.log(`      no pngquant: ${path} is as large as Chromium makes it`);
  }
}
