// `/invocations`: what was called, live.

import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import { get } from '../../api/client';
import { streamState } from '../../api/stream';
import type { Kind } from '../../api/model';
import { clock, duration } from '../../lib/format';
import { useShortcuts } from '../../lib/keys';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { describeFilters, readFilters } from '../../lib/filters';
import { narrow } from '../../lib/media';
import { keptList } from '../../lib/livelist';
import { rememberList } from '../../lib/neighbours';
import { FilterBar, rangeText } from '../../parts/FilterBar';
import { Windowed, type WindowedHandle } from '../../parts/Windowed';
import { Feed } from './feed';
import { bounds, KEYS, type InvocationFilters } from './model';
import { InvocationRow } from './Row';
import './style.css';

const KINDS: Kind[] = ['invalid_input', 'input_too_large', 'unauthenticated', 'forbidden', 'not_found', 'conflict', 'throttled', 'cancelled', 'invalid_output', 'plugin_error', 'crashed', 'memory_exceeded', 'output_too_large', 'timeout', 'unavailable', 'circuit_open', 'sandbox_violation', 'sandbox_unavailable', 'overloaded', 'internal'];
const RUNNING_SHOWN = 5;

/** How many pages are at rest while the pointer is elsewhere: the reader's choice holds over navigation. */
const paused = signal(false);

export default function Invocations(): JSX.Element {
  const query = currentQuery.value;
  const filters = useMemo(() => readFilters(query, KEYS), [JSON.stringify(query)]);
  const feed = useMemo(() => keptList('invocations', JSON.stringify(filters), () => new Feed(filters)), [filters]);
  const { list } = feed;
  const handle = useRef<WindowedHandle | null>(null);
  const [selected, select] = useState(-1);
  const scrolled = useRef(false);
  useEffect(() => {
    select(-1);
    scrolled.current = list.scrollTop > 0;
    handle.current?.to(list.scrollTop);
    list.setHold(paused.value || scrolled.current);
    feed.start();
    return () => feed.stop();
  }, [feed]);
  // Drawn anew by whatever changes.
  list.version.value;
  const { pages } = list;
  const rowHeight = narrow.value ? 58 : 32;
  const set = (changes: Partial<Record<string, string | undefined>>) => setQuery(changes);
  const live = () => {
    paused.value = false;
    scrolled.current = false;
    handle.current?.to(0);
    list.setHold(false);
  };
  const move = (by: number) => {
    const next = Math.min(pages.count - 1, Math.max(0, selected + by));
    if (next < 0) return;
    select(next);
    handle.current?.reveal(next);
  };
  const open = () => {
    const call = pages.at(selected);
    if (!call) return;
    navigate(addressOf.invocation(call.invocation_id));
  };
  const here = addressOf.invocations(query);
  useEffect(() => () => rememberList(here, pages.held().map((call) => call.invocation_id)), [pages]);
  useShortcuts([
    { keys: 'j', what: 'next call', group: 'Invocations', run: () => move(1) },
    { keys: 'k', what: 'previous call', group: 'Invocations', run: () => move(-1) },
    { keys: 'ArrowDown', what: 'next call', group: 'Invocations', run: () => move(1), hidden: true },
    { keys: 'ArrowUp', what: 'previous call', group: 'Invocations', run: () => move(-1), hidden: true },
    { keys: 'Enter', what: 'open the call', group: 'Invocations', run: () => open() },
    { keys: 'Escape', what: 'choose none', group: 'Invocations', run: () => select(-1), hidden: true },
    { keys: 'p', what: 'pause or go on', group: 'Invocations', run: () => toggle() },
  ]);
  const toggle = () => {
    if (paused.value) live();
    else {
      paused.value = true;
      list.setHold(true);
    }
  };

  const limits = bounds(filters);
  const chips = [];
  if (limits) chips.push({ text: `${duration(limits.min)} ≤ took${limits.max === Infinity ? '' : ` < ${duration(limits.max)}`}`, clear: () => set({ min_ms: undefined, max_ms: undefined }) });
  if (filters.until) chips.push({ text: rangeText(filters.since ?? '', filters.until), clear: () => set({ since: undefined, until: undefined }) });

  return (
    <section class="view-list invocations" aria-labelledby="invocations-title">
      <header class="list-head">
        <h1 id="invocations-title">Invocations</h1>
        <FilterBar
          filters={filters}
          set={set}
          search={{ key: 'q', label: 'Search input, output, error' }}
          choices={[
            { key: 'plugin', label: 'plugin', values: plugins.value },
            { key: 'version', label: 'version', values: versions.value },
            { key: 'outcome', label: 'outcome', values: ['replied', 'failed', 'dropped'] },
            { key: 'kind', label: 'kind', values: KINDS },
          ]}
          range
          chips={chips}
        >
          <button type="button" class="button button-small" aria-pressed={paused.value} onClick={toggle} title="p">
            {paused.value ? 'Resume' : 'Pause'}
          </button>
        </FilterBar>
        <Notes feed={feed} filters={filters} />
      </header>
      <Running feed={feed} />
      <div class="list-frame">
        {list.waiting.value > 0 && (
          <button type="button" class="new-rows" onClick={live}>
            {list.waiting.value > 1000 ? 'more than 1,000' : list.waiting.value} new
          </button>
        )}
        <Windowed
          class="calls"
          label="Calls, newest first"
          count={pages.count}
          rowHeight={rowHeight}
          handle={handle}
          onSeen={(from, to) => pages.seen(from, to)}
          onScroll={(top) => {
            list.scrollTop = top;
            const away = top > rowHeight / 2;
            if (away === scrolled.current) return;
            scrolled.current = away;
            list.setHold(away || paused.value);
          }}
          header={<Head />}
          row={(index) => {
            const call = pages.at(index);
            if (!call) return <div key={`hole${index}`} role="row" class="call-row hole" />;
            return <InvocationRow key={call.invocation_id} call={call} index={index} selected={index === selected} arrived={list.arrived.has(call.invocation_id)} />;
          }}
          footer={<Foot feed={feed} filters={filters} set={set} />}
        />
      </div>
    </section>
  );
}

function Head(): JSX.Element {
  return (
    <div role="row" class="call-row head" aria-rowindex={1}>
      {['Time', 'Plugin', 'First arguments', 'Outcome', 'Duration', ''].map((text, index) => (
        <span role="columnheader" key={index} title={text === 'Duration' ? 'The bar is logarithmic, from 50 µs to 1 min' : undefined}>
          {text || <span class="off-screen">Marks</span>}
        </span>
      ))}
    </div>
  );
}

/** Calls under way, above the list. Their time goes on by itself. */
function Running({ feed }: { feed: Feed }): JSX.Element | null {
  const { items, total } = feed.running.value;
  const [now, setNow] = useState(Date.now());
  const any = items.length > 0;
  useEffect(() => {
    if (!any) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [any]);
  if (!any) return null;
  return (
    <div class="running-calls" role="table" aria-label="Calls under way">
      {items.slice(0, RUNNING_SHOWN).map((call, index) => (
        <InvocationRow key={call.invocation_id} call={call} index={index} selected={false} arrived={false} elapsed={Math.max(0, now - Date.parse(call.created_at))} />
      ))}
      {total > RUNNING_SHOWN && <p class="note">and {total - Math.min(items.length, RUNNING_SHOWN)} more under way</p>}
    </div>
  );
}

const plugins = signal<string[]>([]);
const versions = signal<string[]>([]);

/** Names for the choices; what the ledger says about its completeness. */
function Notes({ feed, filters }: { feed: Feed; filters: InvocationFilters }): JSX.Element | null {
  const [sampled, setSampled] = useState<string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    get('/v1/plugins', { query: { limit: 1000 }, signal: abort.signal })
      .then(({ items }) => {
        plugins.value = items.map((plugin) => plugin.name);
        versions.value = filters.plugin ? (items.find((plugin) => plugin.name === filters.plugin)?.versions ?? []) : [];
      })
      .catch(() => undefined);
    get('/v1/health', { signal: abort.signal })
      .then((health) => setSampled(health.ledger?.sampled_until ?? null))
      .catch(() => undefined);
    return () => abort.abort();
  }, [filters.plugin]);
  const notes: JSX.Element[] = [];
  if (sampled) {
    notes.push(
      <span key="sampled">
        Of calls before {clock(sampled)} a sample is kept: all failures and the slowest, and some of each plugin. Counts elsewhere are exact.
      </span>,
    );
  }
  if (feed.left.value > 0) {
    notes.push(
      <span key="left">
        {feed.left.value.toLocaleString()} calls came faster than they could be shown live.{' '}
        <button type="button" class="link" onClick={() => ((feed.left.value = 0), void feed.list.pages.reload())}>
          Load them
        </button>
      </span>,
    );
  }
  if (streamState.value === 'failed') notes.push(<span key="off">Not live: the server does not offer its stream. Reload to see newer calls.</span>);
  return notes.length > 0 ? <div class="notes">{notes}</div> : null;
}

/** What stands below the rows: that there are more, none, or why not. */
function Foot({ feed, filters, set }: { feed: Feed; filters: InvocationFilters; set: (changes: Record<string, string | undefined>) => void }): JSX.Element {
  const { pages } = feed.list;
  if (pages.error) {
    return (
      <div class="list-foot problem" role="alert">
        {pages.error instanceof Error ? pages.error.message : 'The list cannot be loaded'}{' '}
        <button type="button" class="button" onClick={() => void pages.more()}>
          Try again
        </button>
      </div>
    );
  }
  if (pages.busy || pages.virgin) return <div class="list-foot">Loading…</div>;
  const active = describeFilters(filters);
  if (pages.count === 0 && pages.complete) {
    return (
      <div class="list-foot empty">
        {active.length > 0 ? (
          <>
            <p>No calls match: {active.join(', ')}.</p>
            <button type="button" class="button" onClick={() => set(Object.fromEntries(KEYS.map((key) => [key, undefined])))}>
              Clear all filters
            </button>
          </>
        ) : (
          <>
            <p>No calls yet.</p>
            <p>
              Try one: <code>spanglass invoke NAME -f key=value</code>, or open a <a href="/">plugin</a> and use its form.
            </p>
          </>
        )}
      </div>
    );
  }
  if (!pages.complete && feed.scanned.value > 0) {
    return (
      <div class="list-foot">
        Looked through {feed.scanned.value.toLocaleString()} calls.{' '}
        <button type="button" class="button" onClick={() => void pages.more()}>
          Look further back
        </button>
      </div>
    );
  }
  return <div class="list-foot">{pages.complete ? 'That is all that is kept.' : ''}</div>;
}
