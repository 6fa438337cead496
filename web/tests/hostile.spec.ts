// What a plugin says is data: it is shown, and does nothing.
import { expect, test } from './support/test';
import { python } from './support/runner';

/** Each would leave a trace if it ran: a dialog, a request to elsewhere, a global. All are seen by the guard. */
const MARKUP = '<script>window.pwned=1;alert(1)</script><img src=x onerror="window.pwned=1;alert(2)"><svg onload=alert(3)><iframe src="javascript:alert(4)"></iframe><a href="javascript:alert(5)">here</a>';
const ESCAPES = '\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u001b]8;;http://example.com\u0007link\u001b]8;;\u0007 \u001b[2J\u001b[1;1H\u009b31m\u0000\u0008\u007f';
const TURNED = 'invoice\u202egnp.exe \u2066hidden\u2069 \u200b\u200f\ufeff';

const BODY = `
import json, sys
markup, escapes, turned = json.loads(${JSON.stringify(JSON.stringify([MARKUP, ESCAPES, TURNED]))})
for text in (markup, escapes, turned):
    print(text)
    ctx.log.warning(text, **{"field": text})
sys.stderr.write(markup + "\\n")
with ctx.span(markup, note=markup):
    pass
if input_data.get("raise"):
    raise ValueError(markup + escapes + turned)
return {"markup": markup, "escapes": escapes, "turned": turned, markup: [markup]}
`;

test('markup, escapes and turned text in all that a plugin can say', async ({ page, start, open, guard }) => {
  test.setTimeout(120_000);
  const runner = await start({ plugins: python('hostile', BODY, `description: ${JSON.stringify(MARKUP)}\nowner: ${JSON.stringify('<b>me</b>')}\n`) });
  const input = { note: MARKUP, turned: TURNED, [MARKUP]: ESCAPES };
  const good = await runner.invoke('hostile', input);
  expect(good.status).toBe(200);
  const bad = await runner.invoke('hostile', { ...input, raise: true });
  expect(bad.body.kind).toBe('plugin_error');
  const [replied, failed] = [good.body.meta.invocation_id, bad.body.invocation_id];
  guard.allow({ url: `/v1/traces/`, status: 404 });
  const views = [
    '/', '/plugins/hostile', '/plugins/hostile?tab=try', '/plugins/hostile?tab=versions', '/plugins/hostile?tab=about', '/invocations', '/logs', '/errors', '/alerts',
    ...[replied, failed].flatMap((id) => ['', '?tab=logs', '?tab=io', '?tab=replay', '?lines=1'].map((tab) => `/invocations/${id}${tab}`)),
  ];
  for (const view of views) {
    await open(view);
    await expect(page.getByRole('main').getByRole('heading').first()).toBeVisible();
    await expect(page.locator('main .waiting, main .waiting-part')).toHaveCount(0);
    const found = await page.evaluate(() => ({
      ran: 'pwned' in window,
      elements: document.querySelectorAll('main script, main iframe, main img, main [onerror], main [onload], main a[href^="javascript"]').length,
      // eslint-disable-next-line no-control-regex
      raw: (document.body.innerText.match(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g) ?? []).map((sign) => sign.charCodeAt(0).toString(16)),
    }));
    expect(found, view).toEqual({ ran: false, elements: 0, raw: [] });
  }
  // It is not swallowed: who looks sees what was said.
  await open(`/invocations/${failed}?tab=logs`);
  await expect(page.getByRole('table', { name: /Log lines/ })).toContainText('<script>window.pwned=1');
  await expect(page.getByRole('table', { name: /Log lines/ })).toContainText('invoice⟨U+202E⟩gnp.exe');
  await expect(page.getByRole('region', { name: 'Error' })).toContainText('<img src=x onerror=');
});

test('lines of a megabyte and many of them leave the page quick', async ({ page, start, open }) => {
  const runner = await start({ plugins: python('loud', 'for line in range(20):\n    print("x" * 1_000_000)\nfor line in range(2000):\n    print(f"line {line}")\nreturn {}') });
  const answer = await runner.invoke('loud', {});
  expect(answer.status).toBe(200);
  await open(`/invocations/${answer.body.meta.invocation_id}?tab=logs`);
  await expect(page.getByRole('table', { name: /Log lines/ })).toContainText('xxxx');
  const before = Date.now();
  await page.getByRole('tab', { name: 'Usage' }).click();
  await page.getByRole('tab', { name: /^Logs/ }).click();
  await expect(page.getByRole('table', { name: /Log lines/ })).toContainText('xxxx');
  console.log(`      two tabs further with 2,020 lines: ${Date.now() - before} ms`);
  expect(Date.now() - before).toBeLessThan(3000);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(1280);
});
