// The list of calls as it is held: pages of the ledger, what came live on top, what runs, and what waits
// until somebody wants to see it.

import { signal } from '@preact/signals';
import { effect } from '@preact/signals';
import { get } from '../../api/client';
import { listen, streamState, want } from '../../api/stream';
import { Pages } from '../../lib/pages';
import { canBeLive } from '../../lib/filters';
import type { Invocation } from '../../api/model';
import { loadPage, stillRunning, within, type InvocationFilters } from './model';

/** Calls that have come while the list was not to move; beyond, only their number is known. */
const WAITING_MAX = 500;
/** Calls that came live and stay in the list; older ones are at the server. */
const LIVE_MAX = 2000;

export class Feed {
  /** Changes whenever something is to be drawn anew. */
  readonly version = signal(0);
  readonly running = signal<{ items: Invocation[]; total: number }>({ items: [], total: 0 });
  readonly waiting = signal(0);
  readonly left = signal(0);
  readonly scanned = signal(0);
  readonly pages: Pages<Invocation>;
  /** Ids that came in just now, to be shown as new. */
  readonly arrived = new Set<string>();
  private queue: Invocation[] = [];
  private readonly ended = new Set<string>();
  private hold = false;
  private closers: (() => void)[] = [];
  private frame = 0;
  private incoming: Invocation[] = [];

  constructor(private readonly filters: InvocationFilters) {
    const { min_ms: _min, max_ms: _max, ...asked } = filters;
    this.pages = new Pages<Invocation>({
      load: async (cursor, abort) => {
        const page = await loadPage((at, limit) => get('/v1/invocations', { query: { ...asked, cursor: at, limit }, signal: abort }), cursor, filters);
        this.scanned.value += page.scanned;
        const items = page.items.filter((call) => call.state === 'done');
        const running = stillRunning(page.items, this.ended);
        if (cursor === null && running.length > 0) this.running.value = { items: running, total: Math.max(running.length, this.running.value.total) };
        return { items, next: page.next };
      },
      id: (call) => call.invocation_id,
      changed: () => this.version.value++,
    });
  }

  start(): void {
    void this.pages.reload();
    if (!canBeLive(this.filters, Date.now())) return;
    const { plugin, version, outcome, kind, q } = this.filters;
    this.closers = [
      listen({
        invocation: (call) => this.take(call),
        active: ({ items, total }) => {
          const running = stillRunning(items, this.ended);
          this.running.value = { items: running, total: Math.max(running.length, total) };
        },
        lost: ({ reason, invocations }) => {
          this.left.value += invocations;
          // The server's ring did not reach back to where this page had been: what happened meanwhile is in the ledger.
          if (reason === 'gone' && !this.hold) void this.pages.reload();
        },
      }),
      want({ topics: ['invocations', 'active'], plugin, version, outcome, kind, q }),
      // Elapsed times stand still where nothing can be heard any more.
      effect(() => {
        if (streamState.value === 'failed') this.running.value = { items: [], total: 0 };
      }),
    ];
  }

  stop(): void {
    for (const close of this.closers) close();
    this.pages.stop();
    cancelAnimationFrame(this.frame);
  }

  /** While held, what comes waits: nothing moves under the reader's eyes. */
  setHold(hold: boolean): void {
    this.hold = hold;
    if (!hold) this.release();
  }

  release(): void {
    if (this.queue.length === 0 && this.waiting.value === 0) return;
    const more = this.waiting.value > this.queue.length;
    const queue = this.queue;
    this.queue = [];
    this.waiting.value = 0;
    // More came than was kept: the list begins anew rather than with a hole.
    if (more) void this.pages.reload();
    else this.show(queue);
  }

  private take(call: Invocation): void {
    this.incoming.push(call);
    // Many a second: drawn once a frame.
    if (!this.frame) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.frame = 0;
    const calls = this.incoming;
    this.incoming = [];
    for (const call of calls) this.ended.add(call.invocation_id);
    const { items, total } = this.running.value;
    const running = stillRunning(items, this.ended);
    if (running.length !== items.length) this.running.value = { items: running, total: Math.max(running.length, total - (items.length - running.length)) };
    const wanted = calls.filter((call) => within(call, this.filters));
    if (wanted.length === 0) return;
    if (!this.hold) {
      this.show(wanted);
      return;
    }
    this.queue.push(...wanted.slice(0, WAITING_MAX - this.queue.length));
    this.waiting.value += wanted.length;
  }

  private show(calls: Invocation[]): void {
    const before = this.arrived.size;
    this.arrived.clear();
    for (const call of calls) this.arrived.add(call.invocation_id);
    const added = this.pages.prepend(calls);
    this.pages.trim(LIVE_MAX);
    if (added > 0 || before > 0) this.version.value++;
  }
}
