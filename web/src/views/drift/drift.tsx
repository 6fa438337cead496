// What is watched: which versions drift, since when, compared with what; and what happened lately.
import { useSignal } from '@preact/signals';
import { get } from '../../api/client';
import type { DriftOverview } from '../../api/model';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { exact, plural } from '../../lib/format';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { Table, type Column } from '../../parts/Table';
import { Time } from '../../parts/Time';
import { Events } from './Events';
import { Phase } from './Phase';
import { countsOf, longName, matchesVersion, name, shortId, worstFirst } from './model';
import './drift.css';

export { VersionView } from './Version';

/** Changes are told by events; calls that fill a window are not. */
const EVERY_MS = 3_000;
/** At first, with each click on "more", and at most. */
const EVENTS = [20, 100, 500] as const;
const STATES = ['alert', 'warn', 'insufficient', 'ok'] as const;
/** Names of drifting fields in a row. */
const DRIFTING_MOST = 3;

export default function DriftView() {
  const { q = '', state } = currentQuery.value;
  const versions = useData('all', (signal) => get('/v1/drift', { signal }), { every: EVERY_MS });
  const soon = useThrottled(versions.reload, 300);
  useEvents({ alert: soon, change: soon });
  if (!versions.data) {
    if (versions.error) return <ErrorBox error={versions.error} retry={versions.reload} title="What is watched could not be listed" />;
    return <div class="waiting" aria-busy="true" />;
  }
  const all = worstFirst(versions.data.items);
  const counts = countsOf(all);
  const shown = all.filter((one) => matchesVersion(one, { q, state }));
  return (
    <div class="stack">
      <div class="view-head">
        <h1>Drift</h1>
        <span class="muted">{plural(all.length, 'version')} watched</span>
        <div class="segments" role="group" aria-label="State">
          <button type="button" aria-pressed={!state} onClick={() => setQuery({ state: null })}>all</button>
          {STATES.map((one) => <button key={one} type="button" aria-pressed={state === one} onClick={() => setQuery({ state: one })}>{one} {counts[one]}</button>)}
        </div>
        <input type="search" class="drift-search" aria-label="Search plugins and fields" placeholder="Search plugins and fields" value={q} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
      </div>
      {versions.error && <ErrorBox error={versions.error} retry={versions.reload} title="This is not new" />}
      <section class="card">
        <h2>Watched versions</h2>
        {shown.length > 0
          ? <Table label="Watched versions" items={shown} columns={COLUMNS} keyOf={(one) => `${one.plugin} ${one.version}`} onOpen={(one) => navigate(to(one))} keys />
          : (
            <Empty title={all.length ? 'No version fits' : 'Nothing is watched yet'} filters={['state', 'q']}>
              {all.length === 0 && <p class="muted">A version is watched if its manifest has <code>observe</code>: <code>{'observe: {fields: auto}'}</code> takes what its schemas name.</p>}
            </Empty>
          )}
      </section>
      <Happened />
    </div>
  );
}

function Happened() {
  const page = useSignal(0);
  const limit = EVENTS[page.value] ?? EVENTS[0];
  const events = useData(`${limit}`, (signal) => get('/v1/drift/events', { query: { limit }, signal }), { every: EVERY_MS, keep: true });
  useEvents({ change: useThrottled(events.reload, 300) });
  const items = events.data?.items ?? [];
  return (
    <section class="card" aria-label="Drift events">
      <h2>What happened</h2>
      {events.error && <ErrorBox error={events.error} retry={events.reload} title="What happened could not be listed" />}
      {!events.data && !events.error && <p class="muted" aria-busy="true">…</p>}
      {events.data && items.length === 0 && <p class="muted">Nothing has drifted, and no baseline was pinned.</p>}
      <Events items={items} label="Drift events, newest first" />
      {events.data?.next && page.value < EVENTS.length - 1 && <p><button type="button" class="button button-small" onClick={() => (page.value += 1)}>Show older ones</button></p>}
      {events.data?.next && page.value === EVENTS.length - 1 && <p class="muted">Older ones: <code>spanglass drift events</code>.</p>}
    </section>
  );
}

const to = (one: DriftOverview, field?: string) => addressOf.drift(one.plugin, { version: one.version, field });

const COLUMNS: Column<DriftOverview>[] = [
  {
    id: 'version', head: 'Version', sort: (one) => one.plugin,
    cell: (one) => <span class="row"><a class="strong" href={to(one)}>{one.plugin} <span class="mono">{one.version}</span></a>{one.takes_calls && <Badge word="gets the calls" tone="info" />}</span>,
  },
  { id: 'state', head: 'State', class: 'nowrap', cell: (one) => <><Badge word={one.state} />{one.since && <span class="muted"> since <Time at={one.since} relative /></span>}</> },
  { id: 'phase', head: 'Phase', cell: (one) => <Phase phase={one.phase} capture={one.capture} label={`${one.plugin} ${one.version}`} /> },
  {
    id: 'drifting', head: 'Drifting fields',
    cell: (one) => (
      <span class="drift-names">
        {one.drifting.slice(0, DRIFTING_MOST).map((field) => <a key={field} href={to(one, field)} title={longName(field)}><code>{name(field)}</code></a>)}
        {one.drifting.length > DRIFTING_MOST && <span>and {exact(one.drifting.length - DRIFTING_MOST)} more</span>}
        {one.drifting.length === 0 && <span class="muted">none</span>}
      </span>
    ),
  },
  { id: 'fields', head: 'Watched', number: true, cell: (one) => plural(one.fields, 'field') },
  { id: 'baseline', head: 'Baseline', class: 'nowrap', cell: (one) => (one.baseline_created_at ? <span title={one.baseline_id ? `baseline ${shortId(one.baseline_id)}` : undefined}>of <Time at={one.baseline_created_at} relative /></span> : <span class="muted">none yet</span>) },
];
