// What no page may do, watched in every test: throw, complain on the console, ask what fails, ask anybody else.
import type { BrowserContext, ConsoleMessage, Page, Request } from '@playwright/test';

export interface Allowed {
  status?: number;
  /** Part of the address. */
  url: string | RegExp;
}

export class Guard {
  readonly problems: string[] = [];
  private readonly allowed: Allowed[] = [];
  private unreachable = false;

  constructor(private readonly origin: () => string) {}

  /** Such an answer is what the test is about. */
  allow(...answers: Allowed[]): void {
    this.allowed.push(...answers);
  }

  /** The server is about to be away. */
  allowUnreachable(): void {
    this.unreachable = true;
  }

  watch(context: BrowserContext): void {
    context.on('page', (page) => this.watchPage(page));
    context.on('request', (request) => this.request(request));
    context.on('response', (response) => {
      if (response.status() >= 400 && !this.isAllowed(response.url(), response.status())) {
        this.problems.push(`${response.request().method()} ${response.url()} was answered ${response.status()}`);
      }
    });
    context.on('requestfailed', (request) => {
      const why = request.failure()?.errorText ?? '';
      // A view that is left ends what it asked for, and so does the stream that is asked for anew.
      if (why.includes('ERR_ABORTED') || this.unreachable || this.isAllowed(request.url(), 0)) return;
      this.problems.push(`${request.method()} ${request.url()} failed: ${why}`);
    });
    context.on('console', (message) => this.console(message));
  }

  private watchPage(page: Page): void {
    page.on('pageerror', (error) => this.problems.push(`the page threw: ${error.stack ?? error.message}`));
    page.on('crash', () => this.problems.push('the page crashed'));
    page.on('dialog', (dialog) => {
      this.problems.push(`a dialog opened: ${dialog.type()} ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  private request(request: Request): void {
    const url = new URL(request.url());
    // What a page has made itself comes from nobody.
    if (url.protocol === 'blob:' || url.origin === this.origin()) return;
    this.problems.push(`asked somebody else: ${request.method()} ${request.url()}`);
  }

  private console(message: ConsoleMessage): void {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    const text = message.text();
    const at = message.location().url;
    // Chromium says so of every answer from 400 on and of every failed request; those are judged above.
    if (/^Failed to load resource/.test(text)) return;
    this.problems.push(`console ${message.type()}: ${text} (${at})`);
  }

  private isAllowed(url: string, status: number): boolean {
    return this.allowed.some((allowed) => {
      const place = typeof allowed.url === 'string' ? url.includes(allowed.url) : allowed.url.test(url);
      return place && (allowed.status === undefined || allowed.status === status);
    });
  }
}
