// Drift as it is shown, also what a demo does not have: many fields, few values, names that mean harm.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { python, type Runner } from './support/runner';
import { expect, test } from './support/test';
import { answerWith, baselineOf, categoryField, eventOf, numberField, overviewOf, versionDrift } from './support/drift';

const AMOUNT = '$.input.amount';
const COUNTRY = '$.input.country';
const DETAIL = '/drift/payments?version=1.2.0';

const MARKUP = '<script>window.pwned=1;alert(1)</script><img src=x onerror="window.pwned=1">';
const TURNED = 'invoice\u202egnp.exe\u0000\u001b[31m';

const usual = () => versionDrift([numberField('$.input.age', 'insufficient'), numberField('$.output.risk', 'ok'), categoryField(COUNTRY, 'warn', ['DE', 'FR', 'US', 'null or absent']), numberField(AMOUNT, 'alert')]);
/** Six that drift, eight that lack values, fifty as they were. */
const many = () =>
  versionDrift(Array.from({ length: 64 }, (_, at) => numberField(`$.input.features.number_${String(at).padStart(2, '0')}`, at % 10 === 3 ? 'alert' : at % 8 === 0 ? 'insufficient' : 'ok')));

const fields = (page: Page) => page.locator('[data-field]');
const field = (page: Page, name: string) => page.getByRole('article', { name, exact: true });
const opener = (page: Page, name: string) => field(page, name).getByRole('button', { name });

test('the list: worst first, how far each has come, and the way to a field', async ({ page, context, start, open }) => {
  await start();
  const drift = usual();
  const capturing = overviewOf(drift, { version: '1.3.0', takes_calls: false, state: 'insufficient', since: null, phase: 'capturing', capture: { calls: 120, wanted: 500 }, baseline_id: null, baseline_created_at: null, drifting: [] });
  await answerWith(context, { drift, versions: [capturing, overviewOf(drift)], events: [eventOf(AMOUNT, 'drift.detected'), eventOf(null, 'drift.baseline_pinned')] });
  await open('/drift');
  const rows = page.getByRole('table', { name: 'Watched versions' }).getByRole('row');
  await expect(rows).toHaveCount(3);
  await expect(rows.nth(1)).toContainText('payments 1.2.0');
  await expect(rows.nth(1)).toContainText(/alert since 4 m ago/);
  await expect(rows.nth(1)).toContainText('gets the calls');
  await expect(rows.nth(2)).toContainText('120 of 500 calls');
  await expect(rows.nth(2).getByRole('progressbar')).toHaveAccessibleName('Calls captured for payments 1.3.0');
  await expect(rows.nth(2)).toContainText('none yet');
  const events = page.getByRole('list', { name: 'Drift events, newest first' });
  await expect(events.getByRole('listitem').first()).toContainText('detected');
  await expect(events.getByRole('link', { name: /^call 1/ })).toHaveAttribute('href', /\/invocations\/019ac000/);
  await page.getByRole('button', { name: /^insufficient/ }).click();
  await expect(rows).toHaveCount(2);
  await expect(page).toHaveURL(/state=insufficient/);
  await page.getByRole('button', { name: 'all', exact: true }).click();
  await page.getByRole('searchbox').fill('amount');
  await expect(rows).toHaveCount(2);
  await rows.nth(1).getByRole('link', { name: AMOUNT }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Drift of payments 1.2.0');
  await expect(opener(page, AMOUNT)).toHaveAttribute('aria-expanded', 'true');
});

test('a field that drifts: both distributions as numbers, why, since when, and which calls', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: usual(), events: [eventOf(AMOUNT, 'drift.detected'), eventOf(COUNTRY, 'drift.warned', { summary: 'unseen countries' })] });
  await open(DETAIL);
  await expect(fields(page)).toHaveCount(4);
  expect(await fields(page).evaluateAll((all) => all.map((one) => (one as HTMLElement).dataset.field))).toEqual([AMOUNT, COUNTRY, '$.input.age', '$.output.risk']);
  const amount = field(page, AMOUNT);
  await expect(amount).toContainText('PSI 0.31 is at least 0.1 and p 3e-10 below 0.01');
  await expect(amount).toContainText('since 4 m ago');
  await expect(amount).toContainText('498 in the baseline');
  await expect(amount.getByRole('img', { name: /^PSI over 24 steps: now 0.31/ }).first()).toBeVisible();
  const bins = amount.getByRole('table');
  await expect(bins.getByRole('row', { name: 'more than 99.2 10.0 % grew to 20.0 %' })).toHaveCount(1);
  await expect(bins.getByRole('row', { name: 'up to 12.5 10.0 % 3.34 %' })).toHaveCount(1);
  await expect(bins, 'special bins with nothing in them').not.toContainText('null or absent');
  await expect(amount.getByRole('link', { name: '00000002' })).toHaveAttribute('href', /\/invocations\/019ac000-0000-7000-8000-000000000002/);
  const events = amount.getByRole('list', { name: `Events of ${AMOUNT}, newest first` });
  await expect(events).toContainText('detected');
  await expect(events, 'those of another field').not.toContainText('unseen countries');
  await expect(events, 'whose they are is known').not.toContainText(AMOUNT);
  // A category may be named so and is not what is null.
  const country = field(page, COUNTRY).getByRole('table');
  await expect(country.getByRole('row', { name: 'null or absent 24.0 % 24.0 %' })).toHaveCount(1);
  await expect(country.getByRole('row', { name: 'null or absent 1.25 % grew to 12.0 %' })).toHaveCount(1);
  await expect(country.getByRole('row', { name: 'unseen categories 0 % grew to 4.00 %' })).toHaveCount(1);
  await expect(field(page, COUNTRY).locator('.field-numbers')).toContainText('null 1.25 % → 12.0 %');
  await expect(field(page, COUNTRY).locator('.field-numbers')).toContainText('unseen 4.00 %');
  await expect(opener(page, '$.output.risk')).toHaveAttribute('aria-expanded', 'false');
});

test('the bars are as long as the shares, and differ by more than a colour', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: usual() });
  await open(DETAIL);
  const last = field(page, AMOUNT).getByRole('row', { name: /^more than/ });
  const [baseline, current] = await Promise.all(['.bar-baseline', '.bar-current'].map((one) => last.locator(one).evaluate((bar) => ({ width: bar.getBoundingClientRect().width, image: getComputedStyle(bar).backgroundImage }))));
  expect(current!.width / baseline!.width).toBeCloseTo(2, 1);
  expect([baseline!.image === 'none', current!.image === 'none']).toEqual([false, true]);
});

test('too few values: how many are missing, and no zero for what nobody knows', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: usual() });
  await open(`${DETAIL}&field=${encodeURIComponent('$.input.age')}`);
  const age = field(page, '$.input.age');
  await expect(age).toContainText('80 more values needed, 120 of 200 are there');
  await expect(age.getByRole('table')).toContainText('10.0 %');
  const now = await age.getByRole('table').locator('tbody tr td:last-child').allTextContents();
  expect(new Set(now)).toEqual(new Set(['–']));
  await expect(age.locator('.bar-current')).toHaveCount(0);
  await expect(age).toContainText('not known yet');
  await expect(age).not.toContainText(/PSI 0(\D|$)/);
  await expect(age.getByRole('img')).toHaveCount(0);
});

for (const [phase, capture, says] of [
  ['capturing', { calls: 120, wanted: 500 }, 'its baseline needs 380 more calls'],
  ['waiting', null, 'there is no baseline yet'],
] as const) {
  test(`while it is ${phase} it says what it waits for`, async ({ page, context, start, open }) => {
    await start();
    const drift = versionDrift([numberField(AMOUNT, 'insufficient', { samples: 0, baseline_samples: 0, bins: [], history: [] })], { phase, capture, baseline: null, judged_at: null, window: { calls: 0, wanted: 200, step: 50 } });
    await answerWith(context, { drift, baselines: [] });
    await open('/drift/payments');
    await expect(field(page, AMOUNT)).toContainText(says);
    await expect(page.getByRole('button', { name: 'Pin the current window as the baseline…' })).toBeDisabled();
    await opener(page, AMOUNT).click();
    await expect(field(page, AMOUNT)).toContainText('Its bins are made when the baseline is there.');
    if (phase === 'waiting') await expect(page.getByRole('main')).toContainText('spanglass drift baseline payments --from data.jsonl --version 1.2.0');
    else await expect(page.getByRole('progressbar')).toHaveAttribute('value', '120');
  });
}

test('64 fields: those that drift first, quiet ones folded, filters in the address', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: many() });
  await open(DETAIL);
  const states = () => fields(page).evaluateAll((all) => all.map((one) => /drift-field-(\w+)/.exec(one.className)?.[1]));
  await expect(fields(page).first()).toBeVisible();
  const seen = await states();
  expect(seen).not.toContain('ok');
  expect(seen.lastIndexOf('alert')).toBeLessThan(seen.indexOf('insufficient'));
  await page.getByRole('button', { name: /^Show \d+ quiet fields$/ }).click();
  await expect(fields(page)).toHaveCount(64);
  await page.getByRole('button', { name: /^ok \d+$/ }).click();
  await expect.poll(async () => new Set(await states())).toEqual(new Set(['ok']));
  await page.getByRole('searchbox').fill('number_42');
  await expect(fields(page)).toHaveCount(1);
  await opener(page, '$.input.features.number_42').click();
  await expect(page).toHaveURL(/field=%24\.input\.features\.number_42/);
  await page.reload();
  await expect(fields(page)).toHaveCount(1);
  await expect(opener(page, '$.input.features.number_42')).toHaveAttribute('aria-expanded', 'true');
  await page.getByRole('searchbox').fill('nobody');
  await expect(page.locator('.empty')).toContainText('nobody');
  // A link to a folded field is enough.
  await open(`${DETAIL}&field=${encodeURIComponent('$.input.features.number_62')}`);
  await expect(opener(page, '$.input.features.number_62')).toHaveAttribute('aria-expanded', 'true');
  await expect(opener(page, '$.input.features.number_62')).toBeInViewport();
});

test('many categories: the large and the grown, the rest on demand', async ({ page, context, start, open }) => {
  await start();
  const names = Array.from({ length: 63 }, (_, at) => `category ${at}`);
  await answerWith(context, { drift: versionDrift([categoryField(COUNTRY, 'alert', names)]) });
  await open(DETAIL);
  const rows = field(page, COUNTRY).getByRole('table').locator('tbody tr');
  await expect(rows).toHaveCount(18);
  await page.getByRole('button', { name: 'Show 47 more' }).click();
  await expect(rows).toHaveCount(65);
});

test('names from outside are text, cut, and do nothing', async ({ page, context, start, open }) => {
  await start();
  const long = 'y'.repeat(20_000);
  const hostile = `$.input['${MARKUP}${TURNED}']`;
  const drift = versionDrift([
    categoryField(hostile, 'alert', [MARKUP, TURNED, long, '', ' ', 'null'], { reason: MARKUP + TURNED, examples: [{ invocation_id: '019ac000-0000-7000-8000-000000000001', trace_id: '0'.repeat(32), at: new Date().toISOString(), bin: long }] }),
    numberField(`$.input.${long}`, 'alert'),
  ]);
  await answerWith(context, { drift, versions: [overviewOf(drift)], events: [eventOf(hostile, 'drift.detected', { summary: MARKUP + TURNED }), eventOf(`$.input.${long}`, 'drift.detected')] });
  for (const [view, width] of [['/drift', 1280], [DETAIL, 1280], [DETAIL, 375], ['/drift', 375]] as const) {
    await page.setViewportSize({ width, height: 800 });
    await open(view);
    await expect(page.locator('.drift-event').first()).toBeVisible();
    const found = await page.evaluate(() => ({
      ran: 'pwned' in window,
      elements: document.querySelectorAll('main script, main img, main [onerror]').length,
      // eslint-disable-next-line no-control-regex
      raw: (document.body.innerText.match(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g) ?? []).length,
      longest: Math.max(...[...document.querySelectorAll('main *')].flatMap((one) => [...one.attributes].filter(({ name }) => name === 'title' || name === 'aria-label').map(({ value }) => value.length))),
      wide: document.documentElement.scrollWidth > innerWidth,
    }));
    expect(found, view).toMatchObject({ ran: false, elements: 0, raw: 0, wide: false });
    expect(found.longest, view).toBeLessThan(1000);
  }
  await open(DETAIL);
  await expect(fields(page).first()).toContainText('<script>window.pwned=1');
  await expect(fields(page).first().getByRole('table')).toContainText('invoice⟨U+202E⟩gnp.exe');
  await expect(fields(page).first().getByRole('table')).toContainText('(empty text)');
  const shown = await fields(page).nth(1).getByRole('heading', { level: 3 }).textContent();
  expect(shown!.length).toBeLessThan(120);
});

test('pinning asks first, sends what was confirmed, and shows a refusal', async ({ page, context, start, open, guard }) => {
  await start();
  const answers = await answerWith(context, { drift: usual(), baselines: [baselineOf('a', true), baselineOf('b', false)] });
  await open(DETAIL);
  const button = page.getByRole('button', { name: 'Pin the current window as the baseline…' });
  await button.click();
  const dialog = page.getByRole('dialog', { name: 'Pin the current window as the baseline' });
  await expect(dialog).toContainText('with its last 950 calls');
  await expect(dialog).toContainText(`What drifts becomes what is normal: `);
  await expect(dialog).toContainText(AMOUNT);
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(dialog).toBeHidden();
  await expect(button).toBeFocused();
  expect(answers.pinned).toHaveLength(0);

  guard.allow({ url: '/baselines', status: 422 });
  answers.onPin = { status: 422, body: { kind: 'invalid_input', detail: 'the window has 199 calls, 200 are needed' } };
  await button.click();
  await dialog.getByRole('button', { name: 'Pin it' }).click();
  await expect(dialog.getByRole('alert')).toContainText('Nothing was pinned');
  await expect(dialog.getByRole('alert')).toContainText('199 calls');

  answers.onPin = { status: 201, body: baselineOf('c', true) };
  answers.baselines = [baselineOf('c', true), baselineOf('a', false)];
  await dialog.getByRole('button', { name: 'Pin it' }).click();
  await expect(dialog).toBeHidden();
  expect(Object.fromEntries(answers.pinned.at(-1)!)).toEqual({ version: '1.2.0', from: 'window' });
  const baselines = page.getByRole('table', { name: 'Baselines' });
  await expect(baselines.getByRole('row', { name: /cccccccccccc/ })).toContainText('pinned');

  await baselines.getByRole('button', { name: 'Pin again… aaaaaaaaaaaa' }).click();
  await page.getByRole('dialog', { name: 'Pin aaaaaaaaaaaa again' }).getByRole('button', { name: 'Pin it' }).click();
  await expect.poll(() => answers.pinned.at(-1)?.get('from')).toBe(`sha256:${'a'.repeat(64)}`);
});

test('what changes is shown without a reload, and what was opened stays open', async ({ page, context, start, open }) => {
  await start();
  const answers = await answerWith(context, { drift: versionDrift([numberField(AMOUNT, 'ok')]) });
  await open(DETAIL);
  await opener(page, AMOUNT).click();
  await expect(field(page, AMOUNT).getByRole('table')).toBeVisible();
  answers.drift = versionDrift([numberField(AMOUNT, 'alert')]);
  await expect(field(page, AMOUNT)).toContainText('alert since');
  await expect(field(page, AMOUNT).getByRole('table')).toContainText('20.0 %');
  answers.drift = versionDrift([numberField(AMOUNT, 'ok')]);
  await expect(field(page, AMOUNT)).not.toContainText('alert since');
  await expect(opener(page, AMOUNT)).toHaveAttribute('aria-expanded', 'true');
});

test('a plugin of which nothing is watched, and a server that fails', async ({ page, context, start, open, guard }) => {
  await start();
  await answerWith(context, { drift: usual(), versions: [] });
  guard.allow({ url: /\/v1\/plugins\/nobody\/drift/, status: 404 }, { url: /\/v1\/plugins\/broken\/drift/, status: 500 });
  await context.route(/\/v1\/plugins\/nobody\/drift/, (route) => route.fulfill({ status: 404, json: { kind: 'not_found', detail: 'nothing of nobody is watched' } }));
  await context.route(/\/v1\/plugins\/broken\/drift/, (route) => route.fulfill({ status: 500, json: { kind: 'internal', detail: 'the disk is gone' } }));
  await open('/drift/nobody');
  await expect(page.getByRole('main')).toContainText('Nothing of nobody is watched');
  await page.getByRole('link', { name: 'All that is watched' }).click();
  await expect(page.getByRole('main')).toContainText('Nothing is watched yet');
  await open('/drift/broken');
  await expect(page.getByRole('alert')).toContainText('the disk is gone');
});

test('an alert about drift leads to the view of it', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: usual() });
  const alert = {
    id: 'a', rule: 'PluginDrift', severity: 'ticket', state: 'firing', source: 'built-in', plugin: 'payments', version: '1.2.0', summary: 'inputs of payments 1.2.0 drift', help: null,
    value: 0.31, threshold: 0.1, since: new Date().toISOString(), fired_at: new Date().toISOString(), resolved_at: null, runbook: null,
    example: { invocation_id: '019ac000-0000-7000-8000-000000000001', trace_id: '0'.repeat(32) }, fields: [AMOUNT, COUNTRY, '$.a', '$.b'],
    examples: [1, 2].map((number) => ({ invocation_id: `019ac000-0000-7000-8000-00000000000${number}`, trace_id: '0'.repeat(32) })),
  };
  await context.route(/\/v1\/alerts(\?|$)/, (route) => route.fulfill({ json: { items: [alert], rules: [], notifications: [] } }));
  await open('/alerts');
  await expect(page.getByRole('link', { name: 'another', exact: true })).toHaveAttribute('href', /000000000002$/);
  await page.getByRole('link', { name: COUNTRY }).click();
  await expect(page).toHaveURL(/field=%24\.input\.country$/);
  await page.goBack();
  await page.getByRole('link', { name: 'Its drift, 4 fields' }).click();
  await expect(page).toHaveURL(/\/drift\/payments\?version=1\.2\.0$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Drift of payments 1.2.0');
});

test('the view of a plugin says in a line how it drifts, and leads to the field', async ({ page, context, start, open }) => {
  await start({ plugins: python('payments', 'return input_data') });
  const drift = versionDrift([numberField(AMOUNT, 'alert'), numberField('$.output.risk', 'ok')], { version: '1.0.0' });
  const answers = await answerWith(context, { drift });
  await open('/plugins/payments');
  const card = page.getByRole('region', { name: 'Drift' });
  await expect(card).toContainText('alert');
  await expect(card).toContainText('since 4 m ago');
  await expect(card.getByRole('link', { name: '2 fields of 1.0.0 watched' })).toHaveAttribute('href', '/drift/payments?version=1.0.0');
  await card.getByRole('link', { name: AMOUNT }).click();
  await expect(opener(page, AMOUNT)).toHaveAttribute('aria-expanded', 'true');
  answers.versions = [];
  await page.goBack();
  await expect(card).toContainText('Not watched');
});

test('without a mouse: g r, j and Enter open a version; j and Enter open a field', async ({ page, context, start, open }) => {
  await start();
  await answerWith(context, { drift: usual() });
  await open('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  const rows = page.getByRole('table', { name: 'Watched versions' }).locator('tbody tr');
  await expect(async () => {
    await page.keyboard.press('j');
    await expect(rows.first()).toHaveClass(/selected/, { timeout: 200 });
  }).toPass();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/drift\/payments\?version=1\.2\.0$/);
  await expect(fields(page)).toHaveCount(4);
  // Keys are there a moment after what they move over.
  await expect(async () => {
    await page.keyboard.press('j');
    await expect(opener(page, AMOUNT)).toBeFocused({ timeout: 200 });
  }).toPass();
  for (let step = 0; step < 3; step++) await page.keyboard.press('j');
  await expect(opener(page, '$.output.risk')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(field(page, '$.output.risk').getByRole('table')).toBeVisible();
  await page.keyboard.press('k');
  await expect(opener(page, '$.input.age')).toBeFocused();
  await page.keyboard.press('/');
  await expect(page.getByRole('searchbox')).toBeFocused();
});

for (const scheme of ['light', 'dark'] as const) {
  test(`axe finds nothing, and nothing is wider than a phone, ${scheme}`, async ({ page, context, start, open }) => {
    await page.emulateMedia({ colorScheme: scheme });
    await start();
    const answers = await answerWith(context, { drift: usual(), events: [eventOf(AMOUNT, 'drift.detected'), eventOf(COUNTRY, 'drift.warned'), eventOf(AMOUNT, 'drift.resolved', { id: 'r' }), eventOf(null, 'drift.baseline_pinned')], baselines: [baselineOf('a', true), baselineOf('b', false)] });
    const found: string[] = [];
    for (const [name, view, width] of [['list', '/drift', 1280], ['detail', DETAIL, 1280], ['64 fields', DETAIL, 1280], ['list', '/drift', 375], ['64 fields', DETAIL, 375], ['detail', DETAIL, 375]] as const) {
      answers.drift = name === '64 fields' ? many() : usual();
      await page.setViewportSize({ width, height: 800 });
      await open(view);
      await expect(page.locator('.drift-event').first()).toBeVisible();
      await expect(page.locator('main .waiting, main [aria-busy="true"]')).toHaveCount(0);
      const { violations } = await new AxeBuilder({ page }).analyze();
      for (const { id, impact, nodes } of violations) found.push(`${name} ${width}: ${impact} ${id}: ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${node.any[0]?.message ?? node.failureSummary ?? ''}`).join(' | ')}`);
      const wide = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, beyond: [...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((one) => `${one.tagName} ${one.className}`) }));
      if (wide.width > width) found.push(`${name} ${width}: ${wide.width} px, ${wide.beyond.join(', ')}`);
    }
    await page.getByRole('button', { name: 'Pin the current window as the baseline…' }).click();
    const { violations } = await new AxeBuilder({ page }).analyze();
    found.push(...violations.map(({ id, nodes }) => `dialog: ${id}: ${nodes[0]?.target.join(' ')}`));
    expect(found).toEqual([]);
  });
}

/** Calls with these amounts, some at a time. */
async function call(runner: Runner, amounts: number[]): Promise<void> {
  for (let from = 0; from < amounts.length; from += 20) {
    const answers = await Promise.all(amounts.slice(from, from + 20).map((amount) => runner.invoke('amounts', { amount, country: ['DE', 'FR', 'US'][amount % 3] })));
    for (const { status, body } of answers) expect(status, JSON.stringify(body)).toBe(200);
  }
}

test('a real stream: captured, watched, drifted, and pinned anew, all without a reload', async ({ page, start, open, guard }) => {
  test.setTimeout(180_000);
  const runner = await start({ plugins: python('amounts', 'return {"double": input_data["amount"] * 2}', 'observe: {fields: [$.input.amount, $.input.country, $.output.double], baseline_calls: 200}\n') });
  await runner.until('the plugin', async () => (await runner.invoke('amounts', { amount: 1, country: 'DE' })).status === 200);
  const usual = Array.from({ length: 200 }, (_, at) => (at * 37) % 100);
  await open('/drift/amounts');
  await expect(page.getByRole('progressbar')).toBeVisible();
  await expect(field(page, AMOUNT)).toContainText('its baseline needs 199 more calls');
  await call(runner, usual.slice(1));
  await expect(page.getByRole('main')).toContainText('200 calls from the first calls');
  await call(runner, usual.slice(0, 100));
  await expect(field(page, AMOUNT)).toContainText('100 more values needed, 100 of 200 are there');
  await call(runner, usual.slice(100));
  await expect(field(page, AMOUNT)).toContainText('ok');

  await call(runner, usual.map((amount) => amount + 60));
  await expect(field(page, AMOUNT)).toContainText('alert');
  await expect(field(page, '$.output.double')).toContainText('alert');
  const amount = field(page, AMOUNT);
  await expect(amount.getByRole('table')).toContainText('grew to');
  await expect(amount.getByRole('list', { name: /^Events of/ })).toContainText('detected');
  await expect(opener(page, COUNTRY)).toHaveAttribute('aria-expanded', 'false');
  const address = page.url();
  await amount.getByRole('listitem').getByRole('link').first().click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('amounts');
  const shown = (await page.request.get(`${runner.url}/v1/invocations/${new URL(page.url()).pathname.split('/').pop()}`)).json();
  expect(Number(/"amount":\s*(\d+)/.exec(JSON.stringify(await shown).replaceAll('\\"', '"'))?.[1])).toBeGreaterThan(60);
  await page.goBack();
  await expect(page).toHaveURL(address);

  await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: /^Alerts/ }).click();
  await page.getByRole('article').filter({ hasText: 'PluginDrift' }).getByRole('link', { name: AMOUNT }).click();
  await expect(amount.getByRole('table')).toBeVisible();

  await page.getByRole('button', { name: /^Pin the current window/ }).click();
  await page.getByRole('button', { name: 'Pin it' }).click();
  await expect(page.getByRole('main')).toContainText('calls from a window');
  await expect(field(page, AMOUNT)).toContainText('200 more values needed');
  await expect(page.getByRole('table', { name: 'Baselines' }).getByRole('row')).toHaveCount(3);
  await expect(page.getByRole('list', { name: /^Drift events/ })).toContainText('baseline pinned');
  await page.getByRole('button', { name: /^Pin again/ }).click();
  await page.getByRole('button', { name: 'Pin it' }).click();
  await expect(page.getByRole('main')).toContainText('200 calls from the first calls');
  await open('/plugins/amounts');
  await expect(page.getByRole('region', { name: 'Drift' }).getByRole('link', { name: '3 fields of 1.0.0 watched' })).toBeVisible();
  expect(guard.problems).toEqual([]);
});
