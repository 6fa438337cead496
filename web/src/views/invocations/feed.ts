// The list of calls as it is held: what ended, and what runs.

import { signal } from '@preact/signals';
import { get } from '../../api/client';
import type { Invocation } from '../../api/model';
import { listen, want } from '../../api/stream';
import { canBeLive } from '../../lib/filters';
import { LiveList } from '../../lib/livelist';
import { loadPage, stillRunning, within, type InvocationFilters } from './model';

const ENDED_MAX = 5000;

export class Feed {
  readonly list: LiveList<Invocation>;
  readonly running = signal<{ items: Invocation[]; total: number }>({ items: [], total: 0 });
  /** Calls that the stream left out. */
  readonly left = signal(0);
  readonly scanned = signal(0);
  private readonly ended = new Set<string>();
  private closers: (() => void)[] = [];

  constructor(private readonly filters: InvocationFilters) {
    const { min_ms: _min, max_ms: _max, ...asked } = filters;
    this.list = new LiveList<Invocation>({
      load: async (cursor, abort) => {
        const page = await loadPage((at, limit) => get('/v1/invocations', { query: { ...asked, cursor: at, limit }, signal: abort }), cursor, filters);
        this.scanned.value += page.scanned;
        if (cursor === null) this.setRunning(page.items);
        return { items: page.items.filter((call) => call.state === 'done'), next: page.next };
      },
      id: (call) => call.invocation_id,
    });
  }

  start(): void {
    this.list.start();
    if (!canBeLive(this.filters, Date.now())) return;
    const { plugin, version, outcome, kind, q } = this.filters;
    this.closers = [
      listen({
        invocation: (call) => this.take(call),
        active: ({ items, total }) => this.setRunning(items, total),
        lost: ({ reason, invocations }) => {
          this.left.value += invocations;
          // The server's ring did not reach back to where this page had been: what happened meanwhile is in the ledger.
          if (reason === 'gone') void this.list.pages.reload();
        },
      }),
      want({ topics: ['invocations', 'active'], plugin, version, outcome, kind, q }),
    ];
  }

  stop(): void {
    for (const close of this.closers) close();
    this.closers = [];
    this.list.stop();
  }

  private setRunning(items: readonly Invocation[], total = 0): void {
    // What runs has no outcome yet: a filter for one cannot be met.
    const running = this.filters.outcome || this.filters.kind ? [] : stillRunning(items, this.ended);
    if (running.length === 0 && this.running.peek().items.length === 0) return;
    this.running.value = { items: running, total: Math.max(running.length, running.length > 0 ? total : 0) };
  }

  private take(call: Invocation): void {
    if (this.ended.size > ENDED_MAX) this.ended.clear();
    this.ended.add(call.invocation_id);
    const { items, total } = this.running.value;
    if (items.some((one) => one.invocation_id === call.invocation_id)) this.setRunning(items, total - 1);
    if (within(call, this.filters)) this.list.push([call]);
  }
}
