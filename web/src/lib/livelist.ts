// A list that is read in pages and grows on top while somebody reads it. What comes while it is held waits, so
// that nothing moves under the reader's eyes.

import { signal } from '@preact/signals';
import { isAbort } from '../api/client';
import { Pages, type Page } from './pages';

/** Items that have come while the list was held; beyond, only their number is known. */
const WAITING_MAX = 1000;
/** Items that came live and stay in the list; older ones are at the server. */
const LIVE_MAX = 5000;

export interface Options<T> {
  load: (cursor: string | null, signal: AbortSignal) => Promise<Page<T>>;
  id: (item: T) => string;
}

export class LiveList<T> {
  /** Changes whenever something is to be drawn anew. */
  readonly version = signal(0);
  /** How many have come and are not shown. */
  readonly waiting = signal(0);
  readonly pages: Pages<T>;
  /** Those that came in just now, to be shown as new. */
  readonly arrived = new Set<string>();
  /** Where the reader was, for when the list is shown again. */
  scrollTop = 0;
  private queue: T[] = [];
  private incoming: T[] = [];
  private hold = false;
  private frame = 0;
  private begun = false;

  constructor(private readonly options: Options<T>) {
    this.pages = new Pages<T>({ ...options, changed: () => this.version.value++ });
  }

  /** Asks for the first page; where the list was shown before, for what has come since. */
  start(): void {
    if (!this.begun) {
      this.begun = true;
      void this.pages.reload();
    } else void this.catchUp();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.arrived.clear();
  }

  push(items: readonly T[]): void {
    this.incoming.push(...items);
    // Hundreds a second: drawn once a frame.
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const fresh = this.incoming;
      this.incoming = [];
      this.take(fresh);
    });
  }

  setHold(hold: boolean): void {
    this.hold = hold;
    if (!hold) this.release();
  }

  /** Shows what waits. */
  release(): void {
    if (this.waiting.value === 0) return;
    const more = this.waiting.value > this.queue.length;
    const queue = this.queue;
    this.queue = [];
    this.waiting.value = 0;
    // More came than was kept: the list begins anew rather than with a hole.
    if (more) void this.pages.reload();
    else this.show(queue);
  }

  private take(items: T[]): void {
    if (!this.hold) {
      this.show(items);
      return;
    }
    this.queue.push(...items.slice(0, Math.max(0, WAITING_MAX - this.queue.length)));
    this.waiting.value += items.length;
  }

  private show(items: T[]): void {
    const before = this.arrived.size;
    this.arrived.clear();
    for (const item of items) this.arrived.add(this.options.id(item));
    const added = this.pages.prepend(items);
    this.pages.trim(LIVE_MAX);
    if (added > 0 || before > 0) this.version.value++;
  }

  private async catchUp(): Promise<void> {
    const known = new Set(this.pages.held().map(this.options.id));
    try {
      const { items } = await this.options.load(null, new AbortController().signal);
      const fresh = items.filter((item) => !known.has(this.options.id(item)));
      if (fresh.length === items.length && items.length > 0) {
        // Nothing of it was there: there may be a hole. It is closed when the reader goes to the top.
        if (this.hold) this.waiting.value += WAITING_MAX + 1;
        else void this.pages.reload();
      } else this.take(fresh.reverse());
    } catch (error) {
      if (!isAbort(error)) this.version.value++;
    }
  }
}

/** The list that was shown last under this name, if it was of the same filters: going back finds it as it was. */
const kept = new Map<string, { key: string; list: unknown }>();

export function keptList<L>(name: string, key: string, make: () => L): L {
  const before = kept.get(name);
  if (before?.key === key) return before.list as L;
  const list = make();
  kept.set(name, { key, list });
  return list;
}
