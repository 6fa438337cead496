// What the list of calls computes; no DOM, no network.

import type { Page } from '../../lib/pages';
import type { Filters } from '../../lib/filters';
import type { Invocation } from '../../api/model';

export const KEYS = ['plugin', 'version', 'outcome', 'kind', 'q', 'since', 'until', 'min_ms', 'max_ms'] as const;
export type Key = (typeof KEYS)[number];
export type InvocationFilters = Filters<Key>;

/** How many calls are asked for at once while durations are compared here, and how often before somebody must ask again. */
const SCAN_LIMIT = 1000;
const SCAN_PAGES = 5;
export const LIMIT = 100;

/** Durations are not a filter of the server: they come from a heatmap's cell, whose bounds they are. */
export function bounds(filters: InvocationFilters): { min: number; max: number } | null {
  const number = (text: string | undefined, otherwise: number) => (text !== undefined && Number.isFinite(Number(text)) ? Number(text) : otherwise);
  const min = number(filters.min_ms, 0);
  const max = number(filters.max_ms, Infinity);
  return min > 0 || max < Infinity ? { min, max } : null;
}

export function within(call: Invocation, filters: InvocationFilters): boolean {
  const limits = bounds(filters);
  if (!limits) return true;
  return call.duration_ms !== null && call.duration_ms >= limits.min && call.duration_ms < limits.max;
}

/** One page of the list. Where durations are compared, several of the server's, until one has something. */
export async function loadPage(
  fetchPage: (cursor: string | null, limit: number) => Promise<Page<Invocation>>,
  cursor: string | null,
  filters: InvocationFilters,
): Promise<Page<Invocation> & { scanned: number }> {
  if (!bounds(filters)) return { ...(await fetchPage(cursor, LIMIT)), scanned: 0 };
  let scanned = 0;
  let next = cursor;
  for (let i = 0; i < SCAN_PAGES; i++) {
    const page: Page<Invocation> = await fetchPage(next, SCAN_LIMIT);
    scanned += page.items.length;
    next = page.next;
    const items = page.items.filter((call) => call.state !== 'done' || within(call, filters));
    if (items.some((call) => call.state === 'done') || next === null) return { items, next, scanned };
  }
  return { items: [], next, scanned };
}

const BAR_FROM = Math.log10(0.05);
const BAR_TO = Math.log10(60_000);

/** Length of a duration's bar in per cent. Logarithmic as the buckets are: from 50 µs to a minute. */
export function barLength(ms: number | null): number {
  if (ms === null || !(ms > 0)) return 0;
  return Math.min(100, Math.max(2, ((Math.log10(ms) - BAR_FROM) / (BAR_TO - BAR_FROM)) * 100));
}

/** Running calls without those that have ended meanwhile. */
export function stillRunning(active: readonly Invocation[], ended: ReadonlySet<string>): Invocation[] {
  return active.filter((call) => call.state !== 'done' && !ended.has(call.invocation_id));
}
