// From something that looks wrong to its cause and out of it, as somebody would who sees the demo for the first time.
import { expect, startDemo, test } from './support/test';

test('a failed payment, its cause, the version before, and back', async ({ page, at, open }) => {
  test.setTimeout(180_000);
  const demo = await startDemo();
  at.started.push((at.runner = demo));
  await open('/');
  const row = page.getByRole('table', { name: 'Plugins' }).getByRole('row').filter({ has: page.getByRole('link', { name: 'fraud-score', exact: true }) });
  await expect(row).toContainText('✕');
  await expect(row).toContainText('division by zero');
  await row.getByRole('link', { name: 'fraud-score', exact: true }).click();
  await page.getByRole('main').getByRole('link', { name: 'Errors' }).click();

  // An example of the group: which line of the plugin, and what it printed before.
  await page.getByRole('main').locator('a[href^="/invocations/"]').first().click();
  const error = page.getByRole('region', { name: 'Error' });
  await expect(error).toContainText('ZeroDivisionError');
  await expect(error).toContainText('return 60 / payments');
  await expect(error).toContainText('blame: plugin');
  await page.getByRole('tab', { name: /^Logs/ }).click();
  await expect(page.getByRole('table', { name: /Log lines/ })).toContainText('pace: 60 minutes / 0 payments in the last hour');
  await page.getByRole('tab', { name: 'Input and output' }).click();
  await expect(page.getByRole('region', { name: 'Input' })).toContainText('payments_last_hour: 0');

  // The same payment on the version before.
  await page.getByRole('button', { name: 'Replay…' }).click();
  await expect(page.getByLabel('Replay on')).toHaveValue('1.0.0');
  await page.getByRole('button', { name: 'Replay', exact: true }).click();
  const result = page.getByRole('article', { name: 'Replay on 1.0.0' });
  await expect(result.getByRole('region', { name: 'Replay' })).toContainText('replied');
  await expect(result).toContainText('1.0.0 answers what 1.1.0 failed on');
  await expect(result).toContainText('Time by step');

  await result.getByRole('button', { name: 'Roll back to 1.0.0' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back', exact: true }).click();
  await expect(result).toContainText('Rolled back');
  await result.getByRole('link', { name: 'See the plugin' }).click();

  await expect(page.getByRole('main')).toContainText('1.0.0');
  await page.getByRole('tab', { name: /Versions/ }).click();
  const versions = page.getByRole('table', { name: 'Versions' });
  await expect(versions.getByRole('row').filter({ hasText: '1.1.0' })).toContainText('held back');
  await expect(versions.getByRole('row').filter({ hasText: '1.0.0' })).toContainText('gets the calls');
  await expect(page.getByRole('table', { name: 'History' })).toContainText('page');

  // And it is over: whatever is called now is answered.
  const since = new Date().toISOString();
  const after = await demo.until('five payments on 1.0.0', async () => {
    const { items } = await demo.get(`/v1/invocations?plugin=fraud-score&since=${since}&limit=50`);
    const done = items.filter((call: { state: string }) => call.state === 'done');
    return done.length >= 5 && done;
  });
  expect(after.every((call: { version: string; outcome: string }) => call.version === '1.0.0' && call.outcome === 'replied')).toBe(true);
  await page.goto(`${demo.url}/invocations?plugin=fraud-score&outcome=failed&since=${since}`);
  await expect(page.getByRole('main')).toContainText('No calls match');
});

test('the error ratio of a plugin recovers on the page once the version before has the calls', async ({ page, start, open }) => {
  test.setTimeout(150_000);
  const body = (version: string, line: string) => ({
    'manifest.yaml': `name: shaky\nversion: ${version}\nruntime: python\n`,
    'executor.py': `def invoke(input_data):\n    ${line}\n`,
  });
  const runner = await start({ plugins: { good: body('1.0.0', 'return {}'), bad: body('1.1.0', 'raise ValueError("no")') } });
  await runner.until('both versions', async () => (await runner.get('/v1/plugins/shaky')).versions.length === 2);
  for (let call = 0; call < 10; call++) await runner.invoke('shaky');
  await open('/?window=1m');
  const errors = page.getByRole('table', { name: 'Plugins' }).getByRole('row').filter({ hasText: 'shaky' });
  await expect(errors).toContainText('100 %');
  await errors.getByRole('link', { name: 'shaky', exact: true }).click();
  await page.getByRole('button', { name: 'Roll back to 1.0.0…' }).click();
  await page.getByRole('dialog').getByRole('textbox').fill('it raises');
  await page.getByRole('dialog').getByRole('button', { name: /roll back/i }).click();
  await expect(page.getByRole('dialog')).toBeHidden();
  await page.getByRole('tab', { name: /Versions/ }).click();
  await expect(page.getByRole('table', { name: 'History' })).toContainText('it raises');
  for (let call = 0; call < 40; call++) await runner.invoke('shaky');
  await page.goto(`${runner.url}/?window=1m`);
  // 10 of 50, and falling as the first ones leave the window.
  await expect(errors).toContainText('20.0 %');
  // Called on, or at the end no call would be left to have a ratio.
  const calledOn = async () => {
    await runner.invoke('shaky');
    return errors.textContent();
  };
  await expect.poll(calledOn, { timeout: 90_000, intervals: [1_000] }).toMatch(/(^|[^\d.])0 %/);
});
