// Every view with what the demo has really done.
import { expect, test } from './support/test';

test('plugins: each with its version, state, rates and last error', async ({ page, open, demo }) => {
  await open('/');
  const rows = page.getByRole('table', { name: 'Plugins' }).getByRole('row');
  const registered = (await demo.get('/v1/plugins')).items.map((plugin: { name: string }) => plugin.name);
  for (const name of registered) await expect(rows.filter({ has: page.getByRole('link', { name, exact: true }) })).toHaveCount(1);
  const fraud = rows.filter({ has: page.getByRole('link', { name: 'fraud-score', exact: true }) });
  await expect(fraud).toContainText('1.1.0');
  await expect(fraud).toContainText('running');
  await expect(fraud).toContainText(/\/s|\/min/);
  await expect(fraud).toContainText(/\d+(\.\d+)? %/);
  await expect(fraud).toContainText('plugin_error');
  await expect(page.getByLabel('All plugins together')).toContainText('Calls');
  await fraud.getByRole('link', { name: 'fraud-score', exact: true }).click();
  await expect(page).toHaveURL(/\/plugins\/fraud-score$/);
});

test('plugins: a column sorts, and the search narrows', async ({ page, open }) => {
  await open('/');
  const names = page.getByRole('table', { name: 'Plugins' }).locator('tbody a.strong');
  await expect(names.first()).toBeVisible();
  await page.getByRole('button', { name: 'Plugin', exact: true }).click();
  await expect.poll(async () => (await names.allTextContents())[0]).toBe('text-stats');
  await page.getByRole('button', { name: /^Plugin/ }).click();
  await expect.poll(async () => (await names.allTextContents())[0]).toBe('core-utils');
  await page.getByRole('searchbox').fill('csv');
  await expect(names).toHaveText(['csv-profile']);
});

test('one plugin: charts with a marker of the release, versions, history, about', async ({ page, open }) => {
  await open('/plugins/fraud-score');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('fraud-score');
  await expect(page.locator('.u-over, canvas').first()).toBeVisible();
  await page.getByRole('tab', { name: /Versions/ }).click();
  const versions = page.getByRole('table', { name: 'Versions' });
  await expect(versions).toContainText('1.1.0');
  await expect(versions).toContainText('1.0.0');
  await expect(versions.getByRole('row').filter({ hasText: '1.1.0' })).toContainText('gets the calls');
  await expect(page.getByRole('table', { name: 'History' })).toContainText('scores how fast payments follow each other');
  await page.getByRole('tab', { name: 'About' }).click();
  await expect(page.getByRole('tabpanel')).toContainText('team-payments');
});

test('one plugin: a cell of the heatmap opens the calls in it', async ({ page, open }) => {
  await open('/plugins/fraud-score');
  const heatmap = page.getByLabel(/^Heatmap of durations, \d+ calls/);
  await heatmap.scrollIntoViewIfNeeded();
  const said = page.locator('.heatmap-said');
  const box = (await heatmap.boundingBox())!;
  // Wherever there are calls: found as a person does, by moving over it.
  search: for (let x = box.width - 3; x > 60; x -= 6) {
    for (let y = 6; y < box.height - 20; y += 10) {
      await page.mouse.move(box.x + x, box.y + y);
      if (/[1-9]\d* calls? took/.test((await said.textContent()) ?? '')) break search;
    }
  }
  const [, calls] = /(\d+) calls? took/.exec((await said.textContent()) ?? '') ?? [];
  expect(calls, 'no cell says that it has calls').toBeDefined();
  await page.mouse.down();
  await page.mouse.up();
  await expect(page).toHaveURL(/\/invocations\?.*min_ms=/);
  const rows = page.getByRole('table', { name: 'Calls, newest first' }).getByRole('row').filter({ hasText: 'fraud-score' });
  // What the cell says and what it opens are the same calls.
  await expect(rows).toHaveCount(Number(calls));
});

test('invocations: rows with first arguments, outcome and duration', async ({ page, open }) => {
  await open('/invocations?plugin=fraud-score');
  const first = page.getByRole('table', { name: 'Calls, newest first' }).getByRole('row').nth(1);
  await expect(first).toContainText('fraud-score');
  await expect(first).toContainText('amount=');
  await expect(first).toContainText(/replied|plugin_error/);
  await expect(first).toContainText(/\d (µs|ms|s)/);
  await first.click();
});

test('logs: found by text, a line leads to its trace and back', async ({ page, open }) => {
  await open('/logs?plugin=fraud-score&q=signals&stream=stdout');
  const lines = page.getByRole('table', { name: 'Log lines, newest first' }).getByRole('row');
  await expect(lines.first()).toContainText(/scored [\d.e-]+ from \d signals/);
  await lines.first().click();
  await page.getByRole('link', { name: 'Its span in the trace' }).click();
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}\?span=/);
  await expect(page.getByRole('treegrid', { name: 'Spans' })).toContainText('invoke fraud-score');
  await page.goBack();
  await expect(page).toHaveURL(/\/logs\?.*q=signals/);
  await expect(lines.first()).toContainText('signals');
});

test('errors: groups with kind, blame, counts and an example that opens', async ({ page, open }) => {
  await open('/errors?plugin=fraud-score&blame=plugin');
  await expect(page.getByRole('main')).toContainText('plugin_error');
  await expect(page.getByRole('main')).toContainText('division by zero');
  await page.getByRole('main').locator('a[href^="/invocations/"]').first().click();
  await expect(page.getByRole('region', { name: 'Error' })).toContainText('ZeroDivisionError');
});

test('alerts: the rules, and who is told', async ({ page, open }) => {
  await open('/alerts');
  const rules = page.getByRole('table', { name: 'Rules' }).getByRole('row');
  await expect(rules).toHaveCount(7);
  await expect(page.getByRole('main')).toContainText('notifications');
});

test('drift: what the demo has watched, and each field of it', async ({ page, open, demo }) => {
  const { items } = await demo.get('/v1/drift');
  expect(items.map((one: { plugin: string }) => one.plugin)).toContain('fraud-score');
  await open('/drift');
  await expect(page.getByRole('table', { name: 'Watched versions' }).getByRole('row')).toHaveCount(items.length + 1);
  await page.getByRole('table', { name: 'Watched versions' }).getByRole('link', { name: /^fraud-score/ }).first().click();
  const version = new URL(page.url()).searchParams.get('version');
  const { fields } = await demo.get(`/v1/plugins/fraud-score/drift?version=${version}`);
  expect(fields.length).toBeGreaterThan(0);
  for (const { field } of fields) await expect(page.getByRole('article', { name: field, exact: true })).toContainText(/insufficient|ok|warn|alert/);
});

test('health: where telemetry went, the ledger, what doctor finds', async ({ page, open }) => {
  await open('/health');
  const main = page.getByRole('main');
  await expect(main).toContainText('all accounted for');
  await expect(main).toContainText('produced');
  await expect(main.getByRole('table', { name: 'Checks' }).getByRole('row').nth(2)).toBeVisible();
  await expect(main).toContainText('Data folder');
});

test('api: every operation of the document; a trial leads to its call', async ({ page, open, demo }) => {
  const document = await demo.get('/openapi.json');
  const operations = Object.values<object>(document.paths).flatMap((path) => Object.keys(path).filter((key) => ['get', 'post', 'put', 'delete'].includes(key)));
  await open('/api');
  await expect(page.getByRole('navigation', { name: 'Operations' }).getByRole('button')).toHaveCount(operations.length);
  await page.getByRole('searchbox').fill('get /v1/plugins/{name}');
  await page.getByRole('navigation', { name: 'Operations' }).getByRole('button').first().click();
  await expect(page.getByRole('article')).toContainText('/v1/plugins/{name}');
});

test('a title says which view it is', async ({ page, open }) => {
  await open('/logs');
  await expect(page).toHaveTitle(/Logs · spanglass$/);
  await page.getByRole('link', { name: 'Health' }).click();
  await expect(page).toHaveTitle(/Health · spanglass$/);
});
