// What a list is narrowed to. It lives in the address, so that a list can be sent to somebody; the names are
// those of the HTTP surface.

import { instant } from './time';

export type Filters<K extends string> = Partial<Record<K, string>>;

/** Those parameters of the address that are filters. */
export function readFilters<K extends string>(query: Record<string, string>, keys: readonly K[]): Filters<K> {
  const filters: Filters<K> = {};
  for (const key of keys) if (query[key]) filters[key] = query[key];
  return filters;
}

/** `until` says when the list ends: nothing that happens now belongs to it. */
export function canBeLive(filters: { until?: string }, now: number): boolean {
  if (!filters.until) return true;
  const at = instant(filters.until, now);
  return at !== null && at > now;
}

const WORDS: Record<string, (value: string) => string> = {
  q: (value) => `text \u201c${value}\u201d`,
  min_ms: (value) => `took at least ${value} ms`,
  max_ms: (value) => `took less than ${value} ms`,
  since: (value) => (/^\d+\w$/.test(value) ? `of the last ${value}` : `since ${value}`),
  until: (value) => `until ${value}`,
  level: (value) => `${value} or worse`,
};

/** The active filters in words, for a list that is empty. */
export function describeFilters(filters: Record<string, string | undefined>): string[] {
  return Object.entries(filters)
    .filter((entry): entry is [string, string] => !!entry[1])
    .map(([key, value]) => WORDS[key]?.(value) ?? `${key} ${value}`);
}
