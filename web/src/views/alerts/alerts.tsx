// What fires, what is about to, what did; the rules behind it, and who was told.
import type { Alert, Notified, Rule } from '../../api/model';
import { alertsAnswer, alertsError, DRIFT_RULE, reloadAlerts } from '../../lib/alerts';
import { exact } from '../../lib/format';
import { cutLine } from '../../lib/plain';
import { addressOf, currentQuery, outsideLink, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { Table, type Column } from '../../parts/Table';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import './alerts.css';

/** Calls, fields and characters of a field's name in an alert. */
const EXAMPLES_MOST = 3;
const FIELDS_MOST = 3;
const FIELD_MOST = 60;
const STATES = ['firing', 'pending', 'resolved'] as const;

export default function Alerts() {
  const answer = alertsAnswer.value;
  const error = alertsError.value;
  const { plugin, state } = currentQuery.value;
  if (!answer) {
    if (error) return <ErrorBox error={error} retry={() => void reloadAlerts()} title="Alerts could not be listed" />;
    return <div class="waiting" aria-busy="true" />;
  }
  const items = answer.items.filter((alert) => (!plugin || alert.plugin === plugin) && (!state || alert.state === state));
  const counts = Object.fromEntries(STATES.map((one) => [one, answer.items.filter((alert) => alert.state === one).length]));
  return (
    <div class="stack">
      <div class="view-head">
        <h1>Alerts</h1>
        <div class="segments" role="group" aria-label="State">
          <button type="button" aria-pressed={!state} onClick={() => setQuery({ state: null })}>all</button>
          {STATES.map((one) => <button key={one} type="button" aria-pressed={state === one} onClick={() => setQuery({ state: one })}>{one} {counts[one]}</button>)}
        </div>
        {plugin && <button type="button" class="chip" onClick={() => setQuery({ plugin: null })}>plugin = {plugin} <span class="chip-clear">clear</span></button>}
      </div>
      {error && <ErrorBox error={error} retry={() => void reloadAlerts()} title="This is not new" />}
      <section aria-label="Alerts" aria-live="polite" class="alerts">
        {items.length === 0 && <Empty title={answer.items.length ? 'No alert fits' : 'Nothing fires, and nothing has'} filters={['state', 'plugin']} />}
        {items.map((alert) => <OneAlert key={`${alert.id} ${alert.since}`} alert={alert} />)}
      </section>
      <section class="card">
        <h2>Rules</h2>
        <Table label="Rules" items={answer.rules} columns={RULES} keyOf={(rule) => rule.name} />
      </section>
      <section class="card">
        <h2>Who is told</h2>
        {answer.notifications.length
          ? <Table label="Notifications" items={answer.notifications} columns={NOTIFIED} keyOf={(one) => `${one.kind} ${one.target}`} />
          : <p class="muted">Nobody: <code>spanglass.yaml</code> has no <code>notifications</code>. A list of <code>webhook</code>, <code>slack</code> or <code>command</code> there tells somebody when an alert fires and when it is over.</p>}
      </section>
    </div>
  );
}

function OneAlert({ alert }: { alert: Alert }) {
  return (
    <article class={`card alert alert-${alert.state}`}>
      <p class="row">
        <Badge word={alert.state} /> <strong>{alert.rule}</strong>
        {alert.severity !== 'none' && <Badge word={alert.severity} tone={alert.state === 'resolved' ? 'quiet' : alert.severity === 'page' ? 'bad' : 'warn'} title={alert.severity === 'page' ? 'Callers suffer now' : 'To be looked at by day'} />}
        {alert.plugin && <a class="strong" href={addressOf.plugin(alert.plugin)}>{alert.plugin}{alert.version && ` ${alert.version}`}</a>}
        {alert.source === 'alertmanager' && <span class="muted">from Alertmanager</span>}
        <span class="row-end muted alert-when">
          {alert.state === 'resolved' && alert.resolved_at ? <>over since <Time at={alert.resolved_at} relative /></> : <>since <Time at={alert.since} relative /></>}
        </span>
      </p>
      <p class="wrap-text alert-summary"><Text of={alert.summary} /></p>
      {alert.help && <p class="muted wrap-text"><Text of={alert.help} /></p>}
      <p class="row alert-foot">
        {alert.value !== null && <span>value <strong>{number(alert.value)}</strong>{alert.threshold !== null && <span class="muted">, allowed {number(alert.threshold)}</span>}</span>}
        {alert.example && <a href={addressOf.invocation(alert.example.invocation_id)}>A call that shows it</a>}
        {alert.examples?.slice(1, EXAMPLES_MOST).map((one) => <a key={one.invocation_id} href={addressOf.invocation(one.invocation_id)}>another</a>)}
        {alert.plugin && alert.rule === DRIFT_RULE && <DriftOf alert={alert} plugin={alert.plugin} />}
        {alert.plugin && alert.rule !== DRIFT_RULE && <a href={addressOf.errors({ plugin: alert.plugin })}>Its errors</a>}
        {outsideLink(alert.runbook) && <a href={outsideLink(alert.runbook) ?? undefined} target="_blank" rel="noreferrer">Runbook</a>}
        <span class="muted">
          began <Time at={alert.since} />
          {alert.fired_at && <>, fired <Time at={alert.fired_at} /></>}
          {alert.resolved_at && <>, over <Time at={alert.resolved_at} /></>}
        </span>
      </p>
    </article>
  );
}

/** Each field that has drifted, and all of them. */
function DriftOf({ alert, plugin }: { alert: Alert; plugin: string }) {
  const fields = alert.fields ?? [];
  return (
    <>
      {fields.slice(0, FIELDS_MOST).map((field) => <a key={field} href={addressOf.drift(plugin, { version: alert.version, field })}><code class="wrap-text">{cutLine(field, FIELD_MOST)}</code></a>)}
      <a href={addressOf.drift(plugin, { version: alert.version })}>Its drift{fields.length > FIELDS_MOST && `, ${fields.length} fields`}</a>
    </>
  );
}

const number = (value: number): string => (Math.abs(value) < 1 && value !== 0 ? String(Number(value.toPrecision(3))) : exact(value));

const RULES: Column<Rule>[] = [
  { id: 'name', head: 'Rule', class: 'nowrap', cell: (rule) => <span class="strong">{rule.name}</span> },
  { id: 'state', head: 'State', cell: (rule) => <Badge word={rule.state} /> },
  { id: 'severity', head: 'Severity', cell: (rule) => rule.severity },
  { id: 'description', head: 'Fires when', cell: (rule) => <Text of={rule.description} /> },
  { id: 'runbook', head: 'What to do', class: 'nowrap', cell: (rule) => <a href={outsideLink(rule.runbook) ?? undefined} target="_blank" rel="noreferrer">Runbook<span class="off-screen"> of {rule.name}</span></a> },
];

const NOTIFIED: Column<Notified>[] = [
  { id: 'kind', head: 'How', cell: (one) => one.kind },
  { id: 'target', head: 'Where', cell: (one) => <code class="wrap-text">{one.target}</code> },
  { id: 'sent', head: 'Sent', number: true, cell: (one) => exact(one.sent) },
  { id: 'failed', head: 'Failed', number: true, cell: (one) => <span class={one.failed ? 'bad strong' : undefined}>{exact(one.failed)}</span> },
  { id: 'dropped', head: 'Dropped', number: true, cell: (one) => <span class={one.dropped ? 'bad strong' : undefined}>{exact(one.dropped)}</span> },
  { id: 'last', head: 'Last sent', class: 'nowrap', cell: (one) => (one.last_sent_at ? <Time at={one.last_sent_at} relative /> : <span class="muted">never</span>) },
  { id: 'error', head: 'Last error', cell: (one) => <span class="bad wrap-text">{one.last_error ?? ''}</span> },
];
