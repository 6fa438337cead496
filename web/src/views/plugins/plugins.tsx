// All plugins at a glance: who is called, who fails, who is slow, and what fires.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { get } from '../../api/client';
import type { Alert, Got, Overview } from '../../api/model';
import { alerts, alertsError } from '../../lib/alerts';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { bytes, count, duration, exact, plural, rate, ratio, span } from '../../lib/format';
import { plainLine } from '../../lib/plain';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { Sparkline } from '../../parts/Sparkline';
import { Table, type Column } from '../../parts/Table';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import { FirstRun } from './FirstRun';
import { rowsOf, type Row } from './model';
import './plugins.css';

const ALERTS_WAIT_MS = 500;
const OVERVIEW_EVERY_MS = 2_000;
/** Changes are told by events; this mends a lost one. */
const PLUGINS_EVERY_MS = 15_000;
/** A ratio of errors from which it is marked: below, a glance should go elsewhere. */
const MUCH = 0.01;
const WINDOWS: [string, string][] = [['1m', '1 min'], ['5m', '5 min'], ['1h', '1 h'], ['24h', '24 h']];

export default function Plugins() {
  const { q = '', window = '5m' } = currentQuery.value;
  const overview = useData(window, (signal) => get('/v1/overview', { query: { window }, signal }), { every: OVERVIEW_EVERY_MS, keep: true });
  const plugins = useData('all', (signal) => get('/v1/plugins', { query: { limit: 1000 }, signal }), { every: PLUGINS_EVERY_MS });
  const soon = useThrottled(plugins.reload, 300);
  useEvents({ change: soon });

  const registered = plugins.data?.items ?? [];
  // Alerts stand above the list: it waits a moment for them, so that it does not jump.
  const waited = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => (waited.value = true), ALERTS_WAIT_MS);
    return () => clearTimeout(timer);
  }, []);
  const ready = plugins.data !== null && (alerts.value !== null || alertsError.value !== null || waited.value);
  const rows = rowsOf(registered, overview.data, q);
  const nothingYet = plugins.data !== null && rows.length === 0 && !q;
  return (
    <div class="stack">
      <div class="view-head plugins-head">
        <h1>Plugins</h1>
        <input
          type="search" placeholder="Search plugins" aria-label="Search plugins" value={q}
          onInput={(event) => setQuery({ q: event.currentTarget.value })}
        />
        <div class="segments row-end" role="group" aria-label="Window of the numbers">
          {WINDOWS.map(([value, label]) => (
            <button key={value} type="button" aria-pressed={value === window} onClick={() => setQuery({ window: value === '5m' ? null : value })}>{label}</button>
          ))}
        </div>
      </div>
      <Totals overview={overview.data} registered={plugins.data ? registered.length : null} />
      {ready && <Firing />}
      {plugins.error && !plugins.data && <ErrorBox error={plugins.error} retry={plugins.reload} title="The plugins could not be listed" />}
      {overview.error && !plugins.error && <ErrorBox error={overview.error} retry={overview.reload} title="There are no numbers" />}
      <Refused refused={plugins.data?.refused ?? []} />
      {nothingYet ? (
        <FirstRun />
      ) : rows.length === 0 && plugins.data ? (
        <Empty title="No plugin fits" filters={['q']} />
      ) : !ready ? (
        <div class="waiting" aria-busy="true" />
      ) : (
        <section class="card plugins-card">
          <Table label="Plugins" items={rows} columns={COLUMNS} keyOf={(row) => row.name} onOpen={(row) => navigate(addressOf.plugin(row.name))} keys />
        </section>
      )}
    </div>
  );
}

const COLUMNS: Column<Row>[] = [
  {
    id: 'name', head: 'Plugin', class: 'plugins-name', sort: (row) => row.name,
    cell: ({ name, plugin }) => (
      <>
        <a class="strong" href={addressOf.plugin(name)}>{name}</a>
        <span class="muted clip plugins-about" title={plainLine(plugin?.description ?? '')}>{plugin ? plainLine(plugin.description ?? '') : 'no longer registered'}</span>
      </>
    ),
  },
  { id: 'version', head: 'Version', cell: ({ plugin, rates }) => <span class="mono nowrap">{plugin?.version ?? rates?.version ?? '–'}</span> },
  { id: 'runtime', head: 'Runtime', cell: ({ plugin }) => plugin?.runtime ?? '–', class: 'plugins-runtime' },
  { id: 'state', head: 'State', sort: ({ plugin }) => plugin?.state ?? 'removed', class: 'plugins-state', cell: ({ plugin }) => <PluginState plugin={plugin} /> },
  { id: 'rate', head: 'Calls', number: true, sort: ({ rates }) => rates?.rate ?? null, cell: ({ rates }) => <span title={rates ? plural(rates.calls, 'call') : undefined}>{rate(rates?.rate)}</span> },
  {
    id: 'errors', head: 'Errors', number: true, sort: ({ rates }) => rates?.error_ratio ?? null,
    cell: ({ rates }) => {
      const value = rates?.error_ratio ?? null;
      const text = ratio(value);
      if (!rates?.errors) return <span class={value === null ? 'muted' : undefined}>{text}</span>;
      const much = (value ?? 0) >= MUCH;
      return (
        <a class={much ? 'bad strong' : 'plain'} href={addressOf.invocations({ plugin: rates.plugin, outcome: 'failed' })} title={`${exact(rates.errors)} failed`}>
          {much && <span aria-hidden="true">✕ </span>}{text}
        </a>
      );
    },
  },
  { id: 'p50', head: 'p50', number: true, sort: ({ rates }) => rates?.p50_ms ?? null, cell: ({ rates }) => duration(rates?.p50_ms) },
  { id: 'p95', head: 'p95', number: true, sort: ({ rates }) => rates?.p95_ms ?? null, cell: ({ rates }) => duration(rates?.p95_ms) },
  { id: 'p99', head: 'p99', number: true, sort: ({ rates }) => rates?.p99_ms ?? null, cell: ({ rates }) => duration(rates?.p99_ms) },
  {
    id: 'last', head: 'Last error', class: 'plugins-last', sort: ({ rates }) => rates?.last_error?.at ?? null,
    cell: ({ rates }) => {
      const last = rates?.last_error;
      if (!last) return <span class="muted">none</span>;
      return (
        <a class="plugins-error" href={addressOf.invocation(last.invocation_id)} title={plainLine(last.message)}>
          <span><code>{last.kind}</code> <span class="muted"><Time at={last.at} relative /></span></span>
          <span class="clip muted">{plainLine(last.message)}</span>
        </a>
      );
    },
  },
  {
    id: 'spark', head: 'Trend', class: 'plugins-spark',
    cell: ({ name, rates }) => rates && <Sparkline calls={rates.spark.calls} errors={rates.spark.errors} label={`${name}: ${plural(rates.calls, 'call')}, ${exact(rates.errors)} failed, over ${span(rates.spark.step_s * rates.spark.calls.length)}`} />,
  },
];

function PluginState({ plugin }: { plugin: Row['plugin'] }) {
  if (!plugin) return <Badge word="removed" tone="quiet" />;
  if (plugin.crash_loop) return <><Badge word="crash loop" tone="bad" title={plainLine(plugin.crash_loop.error)} /><span class="plugins-cause bad clip" title={plainLine(plugin.crash_loop.error)}>{plainLine(plugin.crash_loop.error)}</span></>;
  if (plugin.state === 'registered') return <Badge word="disabled" tone="quiet" title="Registered, and takes no calls" />;
  return (
    <>
      <Badge word={plugin.state} />
      {plugin.held_back && <> <Badge word="held back" tone="warn" title="Rolled back: it gets only calls that name it" /></>}
      {plugin.cause && <span class="plugins-cause bad clip" title={plainLine(plugin.cause)}>{plainLine(plugin.cause)}</span>}
    </>
  );
}

function Firing() {
  const list = (alerts.value ?? []).filter((alert) => alert.state === 'firing');
  if (!list.length) return null;
  return (
    <section aria-label="Firing alerts" class="firing">
      {list.slice(0, 5).map((alert) => <FiringRow key={alert.id} alert={alert} />)}
      {list.length > 5 && <a href="/alerts">{plural(list.length - 5, 'more alert')}</a>}
    </section>
  );
}

function FiringRow({ alert }: { alert: Alert }) {
  return (
    <p class="firing-row">
      <Badge word="firing" /> <a class="strong" href="/alerts">{alert.rule}</a>
      {alert.plugin && <a href={addressOf.plugin(alert.plugin)}>{alert.plugin}{alert.version && ` ${alert.version}`}</a>}
      <span class="firing-text"><Text of={alert.summary} /></span>
      {alert.example && <a href={addressOf.invocation(alert.example.invocation_id)}>an example</a>}
      <span class="muted nowrap">since <Time at={alert.since} relative /></span>
    </p>
  );
}

function Totals({ overview, registered }: { overview: Overview | null; registered: number | null }) {
  const total = overview?.total;
  const firing = (alerts.value ?? []).filter((alert) => alert.state === 'firing').length;
  const pending = (alerts.value ?? []).filter((alert) => alert.state === 'pending').length;
  const tiles: [string, string, string?][] = [
    ['Calls', rate(total?.rate), total ? `${count(total.calls)} in ${span(overview?.window_s ?? 0)}` : '–'],
    ['Errors', ratio(total?.error_ratio), total ? `${count(total.errors)} failed, ${count(total.refused)} refused` : '–'],
    ['p50', duration(total?.p50_ms), 'median'],
    ['p95', duration(total?.p95_ms), `p99 ${duration(total?.p99_ms)}`],
    ['CPU', total && overview ? `${((total.cpu_ms / 1000 / overview.window_s) * 100).toFixed(1)} %` : '–', `of one core, peak ${bytes(total?.memory_peak_bytes)}`],
    ['Plugins', registered === null ? '–' : String(registered), 'registered'],
    ['Alerts', alerts.value ? String(firing) : '–', pending ? `firing, ${pending} pending` : 'firing'],
  ];
  return (
    <dl class="tiles card" aria-label="All plugins together">
      {tiles.map(([name, value, below]) => (
        <div key={name} class={(name === 'Errors' && (total?.error_ratio ?? 0) >= MUCH) || (name === 'Alerts' && firing) ? 'tile tile-bad' : 'tile'}>
          <dt>{name}</dt>
          <dd><span class="tile-value">{value}</span><span class="muted">{below}</span></dd>
        </div>
      ))}
    </dl>
  );
}

/** What lies in a plugin folder and is no plugin. */
function Refused({ refused }: { refused: Got<'/v1/plugins'>['refused'] }) {
  if (!refused.length) return null;
  return (
    <section class="errorbox" aria-label="Not registered">
      <p class="errorbox-title"><strong>{plural(refused.length, 'folder or zip', 'folders and zips')} could not be registered</strong></p>
      <ul class="stack plugins-refused">
        {refused.map((one) => (
          <li key={one.path}>
            <code>{one.path}</code> <code>{one.kind}</code>
            <p class="wrap-text"><Text of={one.message} /></p>
            {one.help && <p class="muted wrap-text">help: <Text of={one.help} /></p>}
          </li>
        ))}
      </ul>
    </section>
  );
}

