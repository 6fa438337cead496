import type { ComponentChildren } from 'preact';
import { currentQuery, setQuery } from '../lib/router';

/** Why there is nothing: names the filters that hide things, each with a way to drop it. */
export function Empty({ title, filters = [], children }: { title: string; filters?: string[]; children?: ComponentChildren }) {
  const query = currentQuery.value;
  const active = filters.filter((name) => query[name]);
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {active.length > 0 && (
        <>
          <p class="muted">Only what fits these filters is shown:</p>
          <ul class="chips">
            {active.map((name) => (
              <li key={name}>
                <button type="button" class="chip" onClick={() => setQuery({ [name]: null })} aria-label={`Clear the filter ${name}`}>
                  {name} = {query[name]} <span aria-hidden="true">×</span> <span class="chip-clear">clear</span>
                </button>
              </li>
            ))}
            {active.length > 1 && (
              <li>
                <button type="button" class="chip" onClick={() => setQuery(Object.fromEntries(active.map((name) => [name, null])))}>clear all</button>
              </li>
            )}
          </ul>
        </>
      )}
      {children}
    </div>
  );
}
