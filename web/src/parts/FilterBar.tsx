// Filters of a list, one line: a search, some choices, a range of time, and what is set as chips.

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import './lists.css';

export interface Choice {
  key: string;
  label: string;
  /** Known values; another one from the address is offered too. */
  values: readonly string[];
}

interface Props<K extends string> {
  filters: Partial<Record<K, string>>;
  set: (changes: Partial<Record<K, string | undefined>>) => void;
  search?: { key: K; label: string };
  choices: readonly (Choice & { key: K })[];
  /** Offers ranges of time under `since` and `until`. */
  range?: boolean;
  chips?: readonly { text: string; clear: () => void }[];
  children?: ComponentChildren;
}

const RANGES = [
  ['', 'any time'],
  ['5m', 'last 5 min'],
  ['15m', 'last 15 min'],
  ['1h', 'last hour'],
  ['6h', 'last 6 h'],
  ['24h', 'last 24 h'],
  ['7d', 'last 7 d'],
] as const;

export function FilterBar<K extends string>({ filters, set, search, choices, range, chips = [], children }: Props<K>): JSX.Element {
  const [open, setOpen] = useState(false);
  const count = Object.values(filters).filter(Boolean).length;
  const change = (key: string, value: string) => set({ [key]: value || undefined } as Partial<Record<K, string | undefined>>);
  const values = filters as Partial<Record<string, string>>;
  return (
    <form class="filter-bar" role="search" onSubmit={(event) => event.preventDefault()}>
      {search && <SearchBox label={search.label} value={values[search.key] ?? ''} set={(value) => change(search.key, value)} />}
      <button type="button" class="filter-more" aria-expanded={open} onClick={() => setOpen(!open)}>
        Filters{count > 0 ? ` (${count})` : ''}
      </button>
      <div class={`filter-choices ${open ? 'open' : ''}`}>
        {choices.map(({ key, label, values: known }) => {
          const value = values[key] ?? '';
          const options = value && !known.includes(value) ? [value, ...known] : known;
          return (
            <select key={key} class={value ? 'set' : ''} aria-label={label} value={value} onChange={(event) => change(key, event.currentTarget.value)}>
              <option value="">{label}: all</option>
              {options.map((option) => (
                <option key={option} value={option}>
                  {option}
                </option>
              ))}
            </select>
          );
        })}
        {range && <RangeChoice since={values.since ?? ''} until={values.until ?? ''} set={(since, until) => set({ since: since || undefined, until: until || undefined } as unknown as Partial<Record<K, string | undefined>>)} />}
      </div>
      {chips.map((chip) => (
        <button type="button" class="filter-chip" key={chip.text} onClick={chip.clear} aria-label={`Remove the filter: ${chip.text}`}>
          {chip.text} <span aria-hidden="true">×</span>
        </button>
      ))}
      {children}
    </form>
  );
}

function RangeChoice({ since, until, set }: { since: string; until: string; set: (since: string, until: string) => void }): JSX.Element {
  const named = until === '' && RANGES.some(([value]) => value === since);
  return (
    <select class={since || until ? 'set' : ''} aria-label="Time" value={named ? since : 'own'} onChange={(event) => event.currentTarget.value !== 'own' && set(event.currentTarget.value, '')}>
      {RANGES.map(([value, label]) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
      {!named && <option value="own">{rangeText(since, until)}</option>}
    </select>
  );
}

/** A range in local time, the day only where it is not today. */
export function rangeText(since: string, until: string): string {
  const text = (value: string) => {
    const at = new Date(value);
    if (Number.isNaN(at.getTime())) return value;
    const time = at.toLocaleTimeString(undefined, { hour12: false });
    return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
  };
  return `${since ? text(since) : '…'} – ${until ? text(until) : 'now'}`;
}

/** Says what was typed a moment after the last key, and at once on Enter. */
function SearchBox({ label, value, set }: { label: string; value: string; set: (value: string) => void }): JSX.Element {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <input
      type="search"
      class="filter-search"
      name="q"
      data-search
      aria-label={label}
      placeholder={label}
      value={text}
      autocomplete="off"
      spellcheck={false}
      onInput={(event) => {
        const next = event.currentTarget.value;
        setText(next);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => set(next.trim()), 250);
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Enter') return;
        clearTimeout(timer.current);
        set(text.trim());
      }}
    />
  );
}
