import { defineConfig } from '@playwright/test';

// The system's Chromium: nothing is downloaded.
const chromium = process.env.SPANGLASS_TEST_CHROMIUM || '/usr/bin/chromium';

export default defineConfig({
  testDir: 'tests',
  // `npm run screenshots` makes pictures with the same means.
  testMatch: process.env.SPANGLASS_SCREENSHOTS ? 'screenshots.ts' : '*.spec.ts',
  outputDir: 'test-results',
  // A test is bounded as a whole, and so is each wait in it.
  timeout: 60_000,
  expect: { timeout: 10_000 },
  globalTimeout: 20 * 60_000,
  // One after the other: they measure how fast the page is.
  workers: 1,
  fullyParallel: false,
  forbidOnly: Boolean(process.env.CI),
  // A machine that is busy with something else may be late once. The last line says how often that was so.
  retries: process.env.CI ? 1 : 0,
  reporter: [['list'], ['./tests/support/summary.ts']],
  use: {
    browserName: 'chromium',
    viewport: { width: 1280, height: 800 },
    actionTimeout: 10_000,
    navigationTimeout: 15_000,
    screenshot: 'only-on-failure',
    trace: process.env.SPANGLASS_TEST_TRACE ? 'retain-on-failure' : 'off',
    permissions: ['clipboard-read', 'clipboard-write'],
    launchOptions: {
      executablePath: chromium,
      args: [
        // As root, Chromium's sandbox cannot start.
        '--no-sandbox',
        '--no-proxy-server',
        // Nothing but loopback has an address: a page that needs anything else fails.
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
      ],
    },
  },
});
