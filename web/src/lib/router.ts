// The address is the one source of what is shown: a path, and query parameters for filters.
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import { queryString, type QueryValue } from '../api/client';

const path = signal(location.pathname);
const search = signal(location.search);

export const currentPath: ReadonlySignal<string> = path;
export const currentQuery = computed(() => Object.fromEntries(new URLSearchParams(search.value)) as Record<string, string>);

function read(): void {
  path.value = location.pathname;
  search.value = location.search;
}

/** Addresses of this server that are no views. */
const OUTSIDE = /^\/(v1|docs|metrics|openapi\.json|healthz|readyz)(\/|$)/;

export function startRouter(): void {
  addEventListener('popstate', read);
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a[href]');
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (OUTSIDE.test(link.pathname) || (link.hash && link.pathname === location.pathname)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

export function navigate(to: string, how: { replace?: boolean } = {}): void {
  if (to === location.pathname + location.search) return;
  const other = new URL(to, location.origin).pathname !== location.pathname;
  if (how.replace) history.replaceState(history.state, '', to);
  else history.pushState({ inside: true }, '', to);
  read();
  if (other && !how.replace) scrollTo(0, 0);
}

/** What was shown before in this tab is a part of this page: going back does not leave it. */
export function cameFromInside(): boolean {
  return (history.state as { inside?: boolean } | null)?.inside === true;
}

/** Changes some query parameters and keeps the others; null or '' removes one. */
export function setQuery(changes: Record<string, QueryValue>, how: { replace?: boolean } = { replace: true }): void {
  navigate(location.pathname + queryString({ ...currentQuery.peek(), ...changes }), how);
}

export function address(to: string, query: Record<string, QueryValue> = {}): string {
  return to + queryString(query);
}

export const addressOf = {
  plugin: (name: string, query?: Record<string, QueryValue>) => address(`/plugins/${encodeURIComponent(name)}`, query),
  invocation: (id: string) => `/invocations/${encodeURIComponent(id)}`,
  invocations: (query?: Record<string, QueryValue>) => address('/invocations', query),
  trace: (id: string) => `/traces/${encodeURIComponent(id)}`,
  logs: (query?: Record<string, QueryValue>) => address('/logs', query),
  drift: (plugin: string, query?: Record<string, QueryValue>) => address(`/drift/${encodeURIComponent(plugin)}`, query),
  errors: (query?: Record<string, QueryValue>) => address('/errors', query),
};

/** `match('/plugins/{name}', '/plugins/a%20b')` → `{name: 'a b'}`. */
export function match(pattern: string, given: string): Record<string, string> | null {
  const wanted = pattern.split('/');
  const parts = given.replace(/(.)\/$/, '$1').split('/');
  if (wanted.length !== parts.length) return null;
  const values: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const text = parts[index] ?? '';
    if (part.startsWith('{')) {
      if (!text) return null;
      try {
        values[part.slice(1, -1)] = decodeURIComponent(text);
      } catch {
        return null;
      }
    } else if (part !== text) {
      return null;
    }
  }
  return values;
}

/** An address that came from outside, where it is one to go to; a `javascript:` is none. */
export function outsideLink(text: string | null | undefined): string | null {
  if (!text) return null;
  try {
    const url = new URL(text, location.origin);
    return url.protocol === 'http:' || url.protocol === 'https:' ? text : null;
  } catch {
    return null;
  }
}
