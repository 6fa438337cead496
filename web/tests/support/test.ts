// `test` with a real server and a guard over the page. A test that changes something starts a server of its own
// (`start`); the others share one demo, whose release has come out already.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test as base, type BrowserContext } from '@playwright/test';
import { Guard } from './guard';
import { Runner, type Options } from './runner';

export { expect };

/** The page from this folder instead of the one in the program: spares a build of it while working on the page. */
const DIST = process.env.SPANGLASS_TEST_DIST;

interface Each {
  /** Which server the page is at: the shared demo unless `start` was called. */
  at: { runner: Runner | null; started: Runner[] };
  start: (options?: Options) => Promise<Runner>;
  guard: Guard;
  /** Goes to an address of the page, of the server that was started, else of the demo. */
  open: (view: string) => Promise<void>;
}

interface Shared {
  demo: Runner;
}

export const test = base.extend<Each, Shared>({
  demo: [
    async ({}, use) => {
      const demo = await startDemo();
      await use(demo);
      await demo.stop();
    },
    { scope: 'worker', timeout: 180_000 },
  ],

  // The guard uses it too: so servers end after the page that is at them has been closed.
  at: async ({}, use) => {
    const started: Runner[] = [];
    await use({ runner: null, started });
    for (const runner of started) await runner.stop();
  },

  start: async ({ at }, use) => {
    await use(async (options) => {
      const runner = await Runner.start(options);
      at.started.push(runner);
      at.runner = runner;
      return runner;
    });
  },

  guard: [
    async ({ context, at }, use, info) => {
      const guard = new Guard(() => at.runner?.url ?? 'no server yet');
      guard.watch(context);
      if (DIST) await serveFrom(context, resolve(DIST));
      await use(guard);
      // Before the server goes: what happens to a page that is left is nobody's problem.
      await context.close();
      if (info.status === info.expectedStatus) expect(guard.problems, 'what the page must not do').toEqual([]);
      else if (guard.problems.length > 0) console.log(`beside that: ${guard.problems.join('\n  ')}`);
    },
    { auto: true },
  ],

  open: async ({ page, at, demo }, use) => {
    await use(async (view) => {
      at.runner ??= demo;
      await page.goto(at.runner.url + view);
    });
  },
});

/** A demo whose release came out right after its first calls, with a payment that failed on it. */
export async function startDemo(releaseAfter = '1s'): Promise<Runner> {
  // Should nobody be left to end it, it ends by itself.
  const demo = await Runner.start({ command: 'demo', args: ['--release-after', releaseAfter, '--duration', '30m'] });
  await demo.until('a payment that fails on 1.1.0', async () => {
    const failed = await demo.get('/v1/invocations?plugin=fraud-score&version=1.1.0&outcome=failed&limit=1');
    return failed.items.length > 0;
  }, 150_000);
  return demo;
}

async function serveFrom(context: BrowserContext, folder: string): Promise<void> {
  await context.route(/^http:\/\/127\.0\.0\.1:\d+\/(?!v1\/|docs\/|openapi\.json|metrics|healthz|readyz)/, async (route) => {
    const path = new URL(route.request().url()).pathname;
    const asset = join(folder, path);
    const file = /\.\w+$/.test(path) && existsSync(asset) ? asset : join(folder, 'index.html');
    const response = await route.fetch({ url: new URL('/', route.request().url()).href });
    const kinds: Record<string, string> = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    const headers: Record<string, string> = { ...response.headers() };
    headers['content-type'] = kinds[file.split('.').pop() ?? ''] ?? 'application/octet-stream';
    for (const gone of ['content-encoding', 'content-length', 'etag']) delete headers[gone];
    await route.fulfill({ status: 200, headers, body: readFileSync(file) });
  });
}
