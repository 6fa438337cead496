// `/logs`: every line that the runner and the plugins wrote.

import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import { get } from '../../api/client';
import { listen, streamState, want } from '../../api/stream';
import { canBeLive, describeFilters, readFilters, type Filters } from '../../lib/filters';
import { useShortcuts } from '../../lib/keys';
import { keptList, LiveList } from '../../lib/livelist';
import { narrow } from '../../lib/media';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { FilterBar, rangeText } from '../../parts/FilterBar';
import { LogFields, LogRow, logKey, type LogRecord } from '../../parts/LogLines';
import { Windowed, type WindowedHandle } from '../../parts/Windowed';
import './style.css';

const KEYS = ['q', 'level', 'plugin', 'version', 'trace', 'invocation', 'stream', 'since', 'until'] as const;
type LogFilters = Filters<(typeof KEYS)[number]>;
const LIMIT = 500;
/** How far back a line that an address names is looked for. */
const ANCHOR_PAGES = 40;

const plugins = signal<string[]>([]);
const paused = signal(false);

class LogFeed {
  readonly list: LiveList<LogRecord>;
  readonly left = signal(0);
  private closers: (() => void)[] = [];

  constructor(private readonly filters: LogFilters) {
    // The server does not tell streams apart.
    const { stream, ...asked } = filters;
    this.list = new LiveList<LogRecord>({
      load: async (cursor, abort) => {
        const page = await get('/v1/logs', { query: { ...asked, cursor, limit: LIMIT }, signal: abort });
        return { items: (page.items as LogRecord[]).filter((log) => !stream || log.stream === stream), next: page.next };
      },
      id: logKey,
    });
  }

  start(): void {
    this.list.start();
    if (!canBeLive(this.filters, Date.now())) return;
    const { plugin, version, level, trace, q, stream, invocation } = this.filters;
    this.closers = [
      listen({
        log: (log) => {
          if ((!stream || log.stream === stream) && (!invocation || log.invocation_id === invocation)) this.list.push([log as LogRecord]);
        },
        lost: ({ reason, logs }) => {
          this.left.value += logs;
          if (reason === 'gone') void this.list.pages.reload();
        },
      }),
      want({ topics: ['logs'], plugin, version, level, trace, q }),
    ];
  }

  stop(): void {
    for (const close of this.closers) close();
    this.closers = [];
    this.list.stop();
  }
}

export default function LogsView(): JSX.Element {
  const query = currentQuery.value;
  const filters = useMemo(() => readFilters(query, KEYS), [JSON.stringify({ ...query, at: '' })]);
  const feed = useMemo(() => keptList('logs', JSON.stringify(filters), () => new LogFeed(filters)), [filters]);
  const { list } = feed;
  const { pages } = list;
  const handle = useRef<WindowedHandle | null>(null);
  const scrolled = useRef(false);
  const [selected, select] = useState<string | null>(null);
  const [looked, setLooked] = useState(0);
  const at = query.at ?? '';
  list.version.value;

  useEffect(() => {
    scrolled.current = list.scrollTop > 0;
    handle.current?.to(list.scrollTop);
    list.setHold(paused.value || scrolled.current || at !== '');
    feed.start();
    return () => feed.stop();
  }, [feed]);
  useEffect(() => {
    const abort = new AbortController();
    get('/v1/plugins', { query: { limit: 1000 }, signal: abort.signal })
      .then(({ items }) => (plugins.value = items.map((plugin) => plugin.name)))
      .catch(() => undefined);
    return () => abort.abort();
  }, []);

  const rows = pages.count;
  const find = (key: (log: LogRecord) => boolean) => {
    for (let index = 0; index < rows; index++) {
      const log = pages.at(index);
      if (log && key(log)) return index;
    }
    return -1;
  };
  // The line that the address names is looked for, page after page, and shown.
  useEffect(() => {
    if (!at || selected !== null || pages.busy || pages.virgin) return;
    const index = find((log) => log.timestamp === at);
    const line = index >= 0 ? pages.at(index) : undefined;
    if (line) {
      select(logKey(line));
      requestAnimationFrame(() => handle.current?.reveal(index));
    } else if (!pages.complete && looked < ANCHOR_PAGES) {
      setLooked(looked + 1);
      void pages.more();
    }
  }, [at, rows, pages.busy, looked]);

  const choose = (log: LogRecord | undefined) => {
    select(log ? logKey(log) : null);
    setQuery({ at: log?.timestamp ?? null });
  };
  const current = () => (selected === null ? -1 : find((log) => logKey(log) === selected));
  const move = (by: number) => {
    const next = Math.min(rows - 1, Math.max(0, current() + by));
    choose(pages.at(next));
    handle.current?.reveal(next);
  };
  const live = () => {
    paused.value = false;
    scrolled.current = false;
    handle.current?.to(0);
    list.setHold(false);
  };
  const toggle = () => {
    if (paused.value) live();
    else {
      paused.value = true;
      list.setHold(true);
    }
  };
  const chosenAt = current();
  const chosen = chosenAt >= 0 ? pages.at(chosenAt) : undefined;
  const toSpan = (log: LogRecord | undefined) => {
    if (!log?.trace_id) return false;
    navigate(spanAddress(log));
    return true;
  };
  useShortcuts([
    { keys: 'j', what: 'next line', group: 'Logs', run: () => move(1) },
    { keys: 'k', what: 'previous line', group: 'Logs', run: () => move(-1) },
    { keys: 'Enter', what: 'the trace at the span of the line', group: 'Logs', run: () => toSpan(pages.at(current())) },
    { keys: 'Escape', what: 'close the line', group: 'Logs', run: () => (chosen ? choose(undefined) : false), hidden: true },
    { keys: 'p', what: 'pause or follow', group: 'Logs', run: () => toggle() },
  ]);

  const rowHeight = narrow.value ? 44 : 24;
  const chips = [];
  if (filters.trace) chips.push({ text: `trace ${filters.trace.slice(0, 8)}…`, clear: () => setQuery({ trace: null }) });
  if (filters.invocation) chips.push({ text: `invocation …${filters.invocation.slice(-8)}`, clear: () => setQuery({ invocation: null }) });
  if (filters.until) chips.push({ text: rangeText(filters.since ?? '', filters.until), clear: () => setQuery({ since: null, until: null }) });
  const following = !paused.value && !scrolled.current && streamState.value === 'live' && canBeLive(filters, Date.now());
  return (
    <section class="view-list logs" aria-labelledby="logs-title">
      <header class="list-head">
        <h1 id="logs-title">Logs</h1>
        <FilterBar
          filters={filters}
          set={setQuery}
          search={{ key: 'q', label: 'Search lines' }}
          choices={[
            { key: 'level', label: 'level', values: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] },
            { key: 'plugin', label: 'plugin', values: plugins.value },
            { key: 'stream', label: 'stream', values: ['stdout', 'stderr', 'sdk', 'host'] },
          ]}
          range
          chips={chips}
        >
          <span class="filter-end">
            <button type="button" class="button button-small" aria-pressed={paused.value} onClick={toggle} title="p">
              {paused.value ? 'Follow' : 'Pause'}
            </button>
            <span class="muted follow">{following ? 'following' : paused.value ? 'paused' : 'not following'}</span>
          </span>
        </FilterBar>
        {feed.left.value > 0 && (
          <div class="notes">
            <span>
              {feed.left.value.toLocaleString()} lines came faster than they could be shown live.{' '}
              <button type="button" class="link" onClick={() => ((feed.left.value = 0), void pages.reload())}>
                Load them
              </button>
            </span>
          </div>
        )}
      </header>
      <div class={`log-split ${chosen ? 'with-detail' : ''}`}>
        <div class="list-frame">
          {list.waiting.value > 0 && (
            <button type="button" class="new-rows low" onClick={live}>
              {list.waiting.value > 1000 ? 'more than 1,000' : list.waiting.value} new
            </button>
          )}
          <Windowed
            label="Log lines, newest first"
            count={rows}
            rowHeight={rowHeight}
            handle={handle}
            onSeen={(from, to) => pages.seen(from, to)}
            onScroll={(top) => {
              list.scrollTop = top;
              const away = top > rowHeight / 2;
              if (away === scrolled.current) return;
              scrolled.current = away;
              list.setHold(away || paused.value);
              list.version.value++;
            }}
            row={(index) => {
              const log = pages.at(index);
              if (!log) return <div key={`hole${index}`} role="row" class="log-row hole" />;
              const key = logKey(log);
              return <LogRow key={key} log={log} index={index} selected={key === selected} narrow={narrow.value} onClick={() => choose(key === selected ? undefined : log)} />;
            }}
            footer={<Foot list={list} filters={filters} />}
          />
        </div>
        {chosen && <Line log={chosen} onClose={() => choose(undefined)} />}
      </div>
    </section>
  );
}

function spanAddress(log: LogRecord): string {
  return `${addressOf.trace(log.trace_id ?? '')}${log.span_id ? `?span=${log.span_id}` : ''}`;
}

function Line({ log, onClose }: { log: LogRecord; onClose: () => void }): JSX.Element {
  return (
    <aside class="log-detail" aria-label="Log line">
      <header>
        <h3>{log.severity_text}</h3>
        <button type="button" class="button button-small button-quiet" aria-label="Close the line" title="Esc" onClick={onClose}>
          ✕
        </button>
      </header>
      <p class="row">
        {log.trace_id && <a href={spanAddress(log)}>Its span in the trace</a>}
        {log.invocation_id && <a href={`${addressOf.invocation(log.invocation_id)}?tab=logs&at=${encodeURIComponent(log.timestamp)}`}>Its call</a>}
        {log.trace_id && currentQuery.value.trace !== log.trace_id && <a href={addressOf.logs({ trace: log.trace_id, at: log.timestamp })}>Only this trace</a>}
      </p>
      <LogFields log={log} />
    </aside>
  );
}

function Foot({ list, filters }: { list: LiveList<LogRecord>; filters: LogFilters }): JSX.Element {
  const { pages } = list;
  if (pages.error) {
    return (
      <div class="list-foot problem" role="alert">
        {pages.error instanceof Error ? pages.error.message : 'The lines cannot be loaded'}{' '}
        <button type="button" class="button button-small" onClick={() => void pages.more()}>
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
        <p>{active.length > 0 ? `No lines match: ${active.join(', ')}.` : 'No lines yet.'}</p>
        {active.length > 0 && (
          <button type="button" class="button" onClick={() => setQuery(Object.fromEntries(KEYS.map((key) => [key, null])))}>
            Clear all filters
          </button>
        )}
      </div>
    );
  }
  return pages.complete ? (
    <div class="list-foot">That is all that is kept.</div>
  ) : (
    <div class="list-foot">
      <button type="button" class="button button-small" onClick={() => void pages.more()}>
        Older lines
      </button>
    </div>
  );
}
