// What to look at when something seems missing: where telemetry went, what is kept, what doctor finds.
import type { ComponentChildren } from 'preact';
import { get } from '../../api/client';
import type { Check, Health, SignalHealth } from '../../api/model';
import { useData } from '../../lib/data';
import { bytes, exact, plural, ratio, span } from '../../lib/format';
import { addressOf } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Code } from '../../parts/Code';
import { ErrorBox } from '../../parts/ErrorBox';
import { Table, type Column } from '../../parts/Table';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import { account, reasons, sampling } from './model';
import './health.css';

const EVERY_MS = 3_000;

export default function HealthView() {
  const health = useData('health', (signal) => get('/v1/health', { signal }), { every: EVERY_MS });
  const doctor = useData('doctor', (signal) => get('/v1/doctor', { signal }));
  return (
    <div class="stack">
      <div class="view-head">
        <h1>Health</h1>
        {health.data && <Badge word={health.data.status} />}
      </div>
      {health.error && <ErrorBox error={health.error} retry={health.reload} title={health.data ? 'This is not new' : 'Health could not be asked'} />}
      {health.data ? <Sections health={health.data} /> : !health.error && <div class="waiting" aria-busy="true" />}
      <section class="card" aria-busy={doctor.loading}>
        <div class="row card-head">
          <h2>Doctor</h2>
          <button type="button" class="button button-small row-end" disabled={doctor.loading} onClick={doctor.reload}>{doctor.loading ? 'Checking…' : 'Check again'}</button>
        </div>
        {doctor.error && <ErrorBox error={doctor.error} retry={doctor.reload} />}
        {doctor.data && <Table label="Checks" items={sorted(doctor.data.checks)} columns={CHECKS} keyOf={(check) => check.name} />}
      </section>
    </div>
  );
}

const ORDER = ['failed', 'warning', 'note', 'ok'];
const sorted = (checks: Check[]): Check[] => [...checks].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));

const CHECKS: Column<Check>[] = [
  { id: 'state', head: 'State', cell: (check) => <Badge word={check.state} tone={check.state === 'failed' ? 'bad' : undefined} /> },
  { id: 'name', head: 'Check', cell: (check) => <span class="strong">{check.name}</span> },
  {
    id: 'detail', head: 'Found',
    cell: (check) => (
      <>
        <p class="wrap-text"><Text of={check.detail} /></p>
        {check.help && <p class="muted wrap-text">help: <Text of={check.help} /></p>}
      </>
    ),
  },
];

function Sections({ health }: { health: Health }) {
  const { ledger, telemetry, disk, stream } = health;
  const used = ledger.bytes_max ? ledger.file_bytes / ledger.bytes_max : 0;
  const dropped = Object.values(ledger.dropped).reduce((sum, count) => sum + count, 0);
  return (
    <>
      {health.problems.length > 0 && (
        <section class="problems" aria-label="Problems">
          {health.problems.map((problem) => <p key={problem} class="wrap-text"><span aria-hidden="true">▲ </span><Text of={problem} /></p>)}
        </section>
      )}
      <section class="card">
        <h2>Where telemetry went</h2>
        <p class="muted">
          {telemetry.endpoint ? <>Sent to <code>{telemetry.endpoint}</code>. Each record is counted once on each side.</> : <>No <code>OTEL_EXPORTER_OTLP_ENDPOINT</code> is set: nothing is sent anywhere, all is kept in the ledger and shown on this page.</>}
        </p>
        <div class="accounts">{telemetry.signals.map((signal) => <Account key={signal.signal} signal={signal} spoolMax={telemetry.spool_bytes_max} />)}</div>
      </section>
      <div class="facts">
        <Card title="Ledger">
          <p>{sampling(ledger)}</p>
          <Meter label={`${bytes(ledger.file_bytes)} of ${bytes(ledger.bytes_max)} used`} value={used} />
          <Pairs
            of={[
              ['Writable', ledger.writable ? <Badge word="yes" tone="good" /> : <Badge word="no: calls go on, their rows are lost" tone="bad" />],
              ['Rows', `${plural(ledger.invocations, 'call')}, ${plural(ledger.logs, 'log line')}`],
              ['Oldest', ledger.oldest && <Time at={ledger.oldest} relative />],
              ['Since the start', `${exact(ledger.received)} received, ${exact(ledger.written)} written, ${exact(ledger.queued_records)} waiting`],
              ['Lost', dropped ? <span class="bad strong">✕ {reasons(ledger.dropped)}</span> : 'none'],
            ]}
          />
          {ledger.plugins?.length > 0 && (
            <details class="health-kept" open={ledger.sampled_until !== null}>
              <summary>Kept by plugin</summary>
              <Table label="Kept by plugin" items={ledger.plugins} columns={KEPT} keyOf={(one) => one.plugin} />
            </details>
          )}
        </Card>
        <Card title="Server">
          <Pairs
            of={[
              ['Version', <span class="mono">{health.version}</span>],
              ['Ready', health.ready ? <Badge word="ready" tone="good" /> : <Badge word={`waits for ${health.waiting_for.join(', ')}`} tone="warn" />],
              ['Running', <>{span(health.uptime_s)}, since <Time at={health.started_at} /></>],
              ['Data folder', <code>{health.data_dir}</code>],
              ['Free on its disk', bytes(disk.available_bytes)],
              ['Sandbox', health.sandbox === 'S0' ? <>S0 <span class="muted">none: plugins run with the rights of the server</span></> : health.sandbox],
              ['Live pages', `${plural(stream.clients, 'reader')}; ${plural(stream.missed, 'message')} left out, ever`],
            ]}
          />
          <p class="health-links"><a href="/metrics">Metrics</a> <a href="/openapi.json">OpenAPI</a> <a href="/docs/errors">Errors explained</a> <a href="/docs/runbooks">Runbooks</a></p>
          <p class="muted">A backup of all that is kept:</p>
          <Code text="spanglass backup all.tar.gz" />
        </Card>
      </div>
    </>
  );
}

const KEPT: Column<Health['ledger']['plugins'][number]>[] = [
  { id: 'plugin', head: 'Plugin', sort: (one) => one.plugin, cell: (one) => <a href={addressOf.plugin(one.plugin)}>{one.plugin}</a> },
  { id: 'seen', head: 'Calls', number: true, sort: (one) => one.seen, cell: (one) => exact(one.seen) },
  { id: 'kept', head: 'Rows', number: true, sort: (one) => one.kept, cell: (one) => exact(one.kept) },
  { id: 'share', head: 'Share', number: true, sort: (one) => (one.seen ? one.kept / one.seen : null), cell: (one) => ratio(one.seen ? one.kept / one.seen : null) },
];

/** The equation, as it is at this moment. */
function Account({ signal, spoolMax }: { signal: SignalHealth; spoolMax: number }) {
  const { left, right, dropped, balanced } = account(signal);
  const term = (name: string, value: number, bad = false) => (
    <span class={bad && value ? 'term bad' : value ? 'term' : 'term muted'}><span class="term-value">{exact(value)}</span><span class="term-name">{name}</span></span>
  );
  return (
    <div class="account">
      <div class="row">
        <h3>{signal.signal}</h3>
        <Badge word={dropped ? 'records were dropped' : balanced ? 'all accounted for' : 'not equal'} tone={dropped ? 'bad' : balanced ? 'good' : 'warn'} title={`${exact(left)} = ${exact(right)}`} />
        <span class="muted row-end">
          {signal.last_export_at ? <>last sent <Time at={signal.last_export_at} relative /></> : 'nothing sent yet'}
          {signal.spool_bytes > 0 && <>, {bytes(signal.spool_bytes)} of {bytes(spoolMax)} in the spool</>}
        </span>
      </div>
      <p class="equation">
        {term('produced', signal.produced)}<span class="op">+</span>{term('recovered', signal.recovered)}
        <span class="op">{balanced ? '=' : '≠'}</span>
        {term('exported', signal.exported)}<span class="op">+</span>{term('queued', signal.queued)}<span class="op">+</span>{term('spooled', signal.spooled)}<span class="op">+</span>{term('dropped', dropped, true)}
      </p>
      {dropped > 0 && <p class="bad">dropped because: {reasons(signal.dropped)}</p>}
    </div>
  );
}

function Card({ title, children }: { title: string; children: ComponentChildren }) {
  return <section class="card stack health-card"><h2>{title}</h2>{children}</section>;
}

function Meter({ label, value }: { label: string; value: number }) {
  return (
    <div>
      <meter min={0} max={1} high={0.9} value={Math.min(1, value)} aria-label={label} />
      <span class="muted"> {label}</span>
    </div>
  );
}

function Pairs({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="pairs">
      {of.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => <><dt key={name}>{name}</dt><dd>{value}</dd></>)}
    </dl>
  );
}
