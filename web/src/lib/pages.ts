// A list that the server gives page by page. What was read stays readable while newer things come on top, and
// pages that are far from what is in view are let go and asked for again, so that a list of a million rows
// costs no more memory than some thousand.

export interface Page<T> {
  items: T[];
  next: string | null;
}

interface Held<T> {
  cursor: string | null;
  count: number;
  items: T[] | null;
  asked: boolean;
}

export interface Options<T> {
  load: (cursor: string | null, signal: AbortSignal) => Promise<Page<T>>;
  /** What tells one item from another. */
  id: (item: T) => string;
  /** How many pages are kept at most. */
  pagesMax?: number;
  changed: () => void;
}

export class Pages<T> {
  private pages: Held<T>[] = [];
  private fresh: T[] = [];
  private known = new Set<string>();
  private next: string | null = null;
  private abort = new AbortController();
  private loading = false;
  /** Nothing was answered yet. */
  virgin = true;
  error: unknown = null;

  constructor(private readonly options: Options<T>) {}

  /** Rows that can be scrolled to so far. */
  get count(): number {
    return this.fresh.length + this.pages.reduce((sum, page) => sum + page.count, 0);
  }

  get complete(): boolean {
    return !this.virgin && this.next === null;
  }

  get busy(): boolean {
    return this.loading;
  }

  /** Begins anew. */
  async reload(): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    this.pages = [];
    this.fresh = [];
    this.known.clear();
    this.next = null;
    this.virgin = true;
    this.loading = false;
    await this.more();
  }

  stop(): void {
    this.abort.abort();
  }

  /** Asks for the page behind the last one. */
  async more(): Promise<void> {
    if (this.loading || this.complete) return;
    const { signal } = this.abort;
    const cursor = this.next;
    this.loading = true;
    this.error = null;
    this.options.changed();
    try {
      const page = await this.options.load(cursor, signal);
      if (signal.aborted) return;
      // What came over the stream may be on the first page too.
      const items = page.items.filter((item) => !this.known.has(this.options.id(item)));
      this.pages.push({ cursor, count: items.length, items, asked: false });
      this.next = page.next;
      this.virgin = false;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
    this.options.changed();
  }

  /** Puts items that have just come on top, newest last. */
  prepend(items: readonly T[]): number {
    let added = 0;
    for (const item of items) {
      const id = this.options.id(item);
      if (this.known.has(id) || this.first(id)) continue;
      this.known.add(id);
      this.fresh.unshift(item);
      added++;
    }
    return added;
  }

  /** Lets go of the oldest of what came live; they are at the server. */
  trim(most: number): void {
    if (this.fresh.length <= most) return;
    for (const item of this.fresh.splice(most)) this.known.delete(this.options.id(item));
  }

  private first(id: string): boolean {
    return this.pages[0]?.items?.some((item) => this.options.id(item) === id) ?? false;
  }

  at(row: number): T | undefined {
    if (row < this.fresh.length) return this.fresh[row];
    let rest = row - this.fresh.length;
    for (const page of this.pages) {
      if (rest < page.count) return page.items?.[rest];
      rest -= page.count;
    }
    return undefined;
  }

  /** Everything that is held, newest first. */
  held(): T[] {
    return [...this.fresh, ...this.pages.flatMap((page) => page.items ?? [])];
  }

  /** Called with the rows in view: fetches what was let go, goes on at the end, lets go of what is far. */
  seen(from: number, to: number): void {
    let begin = this.fresh.length;
    const near: number[] = [];
    this.pages.forEach((page, index) => {
      const end = begin + page.count;
      if (end > from && begin < to) {
        near.push(index);
        if (!page.items && !page.asked) void this.refetch(page);
      }
      begin = end;
    });
    if (to >= this.count - 10 && !this.error) void this.more();
    const most = this.options.pagesMax ?? 20;
    const held = this.pages.filter((page) => page.items).length;
    if (held <= most || near.length === 0) return;
    const middle = near[near.length >> 1]!;
    const far = this.pages
      .map((page, index) => ({ page, distance: Math.abs(index - middle) }))
      .filter(({ page }) => page.items)
      .sort((a, b) => b.distance - a.distance);
    for (const { page } of far.slice(0, held - most)) page.items = null;
  }

  private async refetch(page: Held<T>): Promise<void> {
    page.asked = true;
    const { signal } = this.abort;
    try {
      const again = await this.options.load(page.cursor, signal);
      if (signal.aborted) return;
      const items = again.items.filter((item) => !this.known.has(this.options.id(item)));
      // Retention may have deleted some meanwhile: the page keeps its place.
      page.items = items.slice(0, page.count);
      this.options.changed();
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
    page.asked = false;
  }
}
