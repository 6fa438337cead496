// One plugin: how it does, a form to try it, its versions, what it is.
import { useSignal } from '@preact/signals';
import { get } from '../../api/client';
import type { Plugin, Version } from '../../api/model';
import { alerts, DRIFT_RULE } from '../../lib/alerts';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { plain } from '../../lib/plain';
import { addressOf, currentQuery, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { Tabs } from '../../parts/Tabs';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import { TimeRange } from '../../parts/TimeRange';
import type { ViewProps } from '../../routes';
import { About } from './About';
import { Charts } from './Charts';
import { Drift } from './Drift';
import { Try } from './Try';
import { rollbackTarget, type Change } from './change';
import { ChangeDialog } from './ChangeDialog';
import { Versions } from './Versions';
import './plugin.css';

const TABS = ['charts', 'try', 'versions', 'about'] as const;

const EVERY_MS = 10_000;

export default function PluginView({ params }: ViewProps) {
  const name = params.name ?? '';
  const plugin = useData(
    name,
    async (signal) => {
      const [shown, versions] = await Promise.all([get('/v1/plugins/{name}', { path: { name }, signal }), get('/v1/plugins/{name}/versions', { path: { name }, query: { limit: 1000 }, signal })]);
      return { shown, versions: versions.items };
    },
    { every: EVERY_MS },
  );
  const soon = useThrottled(plugin.reload, 200);
  useEvents({ change: (event) => event['plugin.name'] === name && soon() });
  if (plugin.data) return <One plugin={plugin.data.shown} versions={plugin.data.versions} reload={plugin.reload} />;
  if (plugin.error?.status === 404) {
    return (
      <Empty title={`There is no plugin ${name}`}>
        <p class="muted">It may have been removed. What it did is still in <a href={addressOf.invocations({ plugin: name })}>its invocations</a> and <a href={addressOf.logs({ plugin: name })}>its logs</a>.</p>
      </Empty>
    );
  }
  if (plugin.error) return <ErrorBox error={plugin.error} retry={plugin.reload} title={`The plugin ${name} could not be shown`} />;
  return <div class="waiting" aria-busy="true" />;
}

function One({ plugin, versions, reload }: { plugin: Plugin; versions: Version[]; reload: () => void }) {
  const { tab: asked, version } = currentQuery.value;
  const tab = TABS.find((one) => one === asked) ?? 'charts';
  const change = useSignal<Change | null>(null);
  const back = rollbackTarget(plugin, versions);
  return (
    <>
      <div class="plugin-head">
        <div class="row">
          <h1>{plugin.name}</h1>
          <span class="mono">{plugin.version ?? 'no version takes calls'}</span>
          <Badge word={plugin.state} />
          {plugin.crash_loop && <Badge word="crash loop" tone="bad" title={plugin.crash_loop.error} />}
          {plugin.held_back && <Badge word="held back" tone="warn" title="Rolled back: it gets only calls that name it" />}
          <span class="muted">{plugin.runtime}{plugin.owner && ` · ${plugin.owner}`}</span>
          <span class="row row-end">
            <a href={addressOf.invocations({ plugin: plugin.name, version })}>Invocations</a>
            <a href={addressOf.logs({ plugin: plugin.name, version })}>Logs</a>
            <a href={addressOf.errors({ plugin: plugin.name })}>Errors</a>
            <a href={addressOf.drift(plugin.name, { version })}>Drift</a>
            {back && <button type="button" class="button button-small" onClick={() => (change.value = { what: 'rollback', version: back })}>Roll back to {back}…</button>}
          </span>
        </div>
        {plugin.description && <p class="muted">{plain(plugin.description)}</p>}
        <Trouble plugin={plugin} />
      </div>
      <Tabs
        label={`Parts of ${plugin.name}`}
        chosen={tab}
        onChoose={(id) => setQuery({ tab: id === 'charts' ? null : id })}
        tabs={[
          { id: 'charts', label: 'Charts' },
          { id: 'try', label: 'Try it' },
          { id: 'versions', label: `Versions (${plugin.versions.length})` },
          { id: 'about', label: 'About' },
        ]}
      >
        {tab === 'charts' && (
          <div class="stack">
            <div class="row">
              <TimeRange />
              {plugin.versions.length > 1 && (
                <label class="row">
                  Version{' '}
                  <select value={version ?? ''} onChange={(event) => setQuery({ version: event.currentTarget.value })}>
                    <option value="">all</option>
                    {plugin.versions.map((one) => <option key={one} value={one}>{one}</option>)}
                  </select>
                </label>
              )}
            </div>
            <Drift plugin={plugin.name} version={version} />
            <Charts plugin={plugin} />
          </div>
        )}
        {tab === 'try' && <Try plugin={plugin} versions={versions} />}
        {tab === 'versions' && <Versions plugin={plugin} versions={versions} onChange={(wish) => (change.value = wish)} />}
        {tab === 'about' && <About plugin={plugin} />}
      </Tabs>
      {change.value && <ChangeDialog plugin={plugin} change={change.value} onClose={() => (change.value = null)} onDone={reload} />}
    </>
  );
}

/** Why it failed, why it does not start, and what fires about it. */
function Trouble({ plugin }: { plugin: Plugin }) {
  const firing = (alerts.value ?? []).filter((alert) => alert.state === 'firing' && alert.plugin === plugin.name);
  return (
    <>
      {plugin.cause && <p class="bad wrap-text"><strong>Failed:</strong> <Text of={plugin.cause} /></p>}
      {plugin.crash_loop && <p class="bad wrap-text"><strong>Its instances do not start</strong> ({plugin.crash_loop.failures} times): <Text of={plugin.crash_loop.error} /></p>}
      {firing.map((alert) => (
        <p key={alert.id} class="firing-row">
          <Badge word="firing" /> <a class="strong" href={alert.rule === DRIFT_RULE ? addressOf.drift(plugin.name, { version: alert.version }) : '/alerts'}>{alert.rule}</a> <span class="firing-text"><Text of={alert.summary} /></span>
          {alert.example && <a href={addressOf.invocation(alert.example.invocation_id)}>an example</a>}
          <span class="muted nowrap">since <Time at={alert.since} relative /></span>
        </p>
      ))}
    </>
  );
}
