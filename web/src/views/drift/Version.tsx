// One version: how far it is from its baseline, field by field, the worst first.
import { useSignal } from '@preact/signals';
import { get } from '../../api/client';
import type { DriftOverview, VersionDrift } from '../../api/model';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { bytes, exact, plural } from '../../lib/format';
import { addressOf, currentQuery, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { Time } from '../../parts/Time';
import type { ViewProps } from '../../routes';
import { Baselines } from './Baselines';
import { Events } from './Events';
import { Fields } from './Fields';
import { Phase } from './Phase';
import { PinDialog } from './PinDialog';
import { pinBlocked, score, shortId, sourceOf, type Pin } from './model';

const EVERY_MS = 5_000;
const BESIDE_EVERY_MS = 10_000;
/** Of this version, for all its fields together. */
const EVENTS_MOST = 200;

export function VersionView({ params }: ViewProps) {
  const plugin = params.plugin ?? '';
  const { version } = currentQuery.value;
  const drift = useData(`${plugin} ${version ?? ''}`, (signal) => get('/v1/plugins/{name}/drift', { path: { name: plugin }, query: { version }, signal }), { every: EVERY_MS });
  const soon = useThrottled(drift.reload, 300);
  useEvents({ alert: soon, change: (event) => event['plugin.name'] === plugin && soon() });
  if (drift.data) {
    return (
      <>
        {drift.error && <ErrorBox error={drift.error} retry={drift.reload} title="This is not new" />}
        <One drift={drift.data} reload={drift.reload} />
      </>
    );
  }
  if (drift.error?.status === 404) {
    return (
      <Empty title={`Nothing of ${plugin}${version ? ` ${version}` : ''} is watched`} filters={['version']}>
        <p class="muted">Either there is no such version, or its manifest has no <code>observe</code>, or it is disabled.</p>
        <p><a href="/drift">All that is watched</a> · <a href={addressOf.plugin(plugin)}>The plugin</a></p>
      </Empty>
    );
  }
  if (drift.error) return <ErrorBox error={drift.error} retry={drift.reload} title={`The drift of ${plugin} could not be shown`} />;
  return <div class="waiting" aria-busy="true" />;
}

function One({ drift, reload }: { drift: VersionDrift; reload: () => void }) {
  const { plugin, version } = drift;
  const pin = useSignal<Pin | null>(null);
  const events = useData(`${plugin} ${version}`, (signal) => get('/v1/drift/events', { query: { plugin, version, limit: EVENTS_MOST }, signal }), { every: BESIDE_EVERY_MS });
  const baselines = useData(`${plugin} ${version}`, (signal) => get('/v1/plugins/{name}/baselines', { path: { name: plugin }, query: { version }, signal }), { every: BESIDE_EVERY_MS });
  const versions = useData('all', (signal) => get('/v1/drift', { signal }), { every: BESIDE_EVERY_MS });
  const happened = events.data?.items ?? [];
  const soon = useThrottled(events.reload, 300);
  useEvents({ change: (event) => event['plugin.name'] === plugin && soon() });
  const done = () => [reload, events.reload, baselines.reload].forEach((again) => again());
  return (
    <div class="stack">
      <div class="view-head">
        <h1><a class="plain" href="/drift">Drift</a> of {plugin} <span class="mono">{version}</span></h1>
        <Badge word={drift.state} />
        {drift.since && <span class="muted">since <Time at={drift.since} relative /></span>}
        <Choose versions={(versions.data?.items ?? []).filter((one) => one.plugin === plugin)} version={version} />
        <span class="row row-end"><a href={addressOf.plugin(plugin)}>Plugin</a> <a href={addressOf.invocations({ plugin, version })}>Invocations</a></span>
      </div>
      <Facts drift={drift} onPin={() => (pin.value = { from: 'window' })} />
      <Fields drift={drift} events={happened} />
      <section class="card" aria-label="Events">
        <h2>What happened</h2>
        {events.error && <ErrorBox error={events.error} retry={events.reload} title="What happened could not be listed" />}
        {events.data && happened.length === 0 && <p class="muted">Nothing has drifted, and no baseline was pinned.</p>}
        <Events items={happened.slice(0, 20)} about="version" label="Drift events of this version, newest first" />
      </section>
      <section class="card" aria-label="Baselines">
        <h2>Baselines</h2>
        {baselines.error && <ErrorBox error={baselines.error} retry={baselines.reload} title="Baselines could not be listed" />}
        {baselines.data && <Baselines items={baselines.data.items} onPin={(baseline) => (pin.value = { from: 'earlier', baseline })} />}
      </section>
      {pin.value && <PinDialog pin={pin.value} drift={drift} onClose={() => (pin.value = null)} onDone={done} />}
    </div>
  );
}

function Choose({ versions, version }: { versions: DriftOverview[]; version: string }) {
  if (versions.length < 2) return null;
  return (
    <label class="row">
      Version{' '}
      <select value={version} onChange={(event) => setQuery({ version: event.currentTarget.value, field: null })}>
        {versions.map((one) => <option key={one.version} value={one.version}>{one.version} ({one.state}{one.takes_calls ? ', gets the calls' : ''})</option>)}
      </select>
    </label>
  );
}

/** What it is compared with, how much of it there is, and what counts as drift. */
function Facts({ drift, onPin }: { drift: VersionDrift; onPin: () => void }) {
  const { baseline, window, long_window: long, settings } = drift;
  const blocked = pinBlocked(drift);
  return (
    <section class="card" aria-label="What it is compared with">
      <dl class="drift-facts">
        <div><dt>Phase</dt><dd><Phase phase={drift.phase} capture={drift.capture} label={`${drift.plugin} ${drift.version}`} /></dd></div>
        <div>
          <dt>Baseline</dt>
          <dd>
            {baseline
              ? <><span class="row nowrap"><code title={baseline.id}>{shortId(baseline.id)}</code> <CopyButton text={baseline.id} title="Copy the whole id" /></span><span class="muted">{exact(baseline.calls)} calls from {sourceOf(baseline.source)}, <Time at={baseline.created_at} relative /></span></>
              : <span class="muted">none yet</span>}
          </dd>
        </div>
        <div><dt>Window</dt><dd>{exact(window.calls)} of {exact(window.wanted)} calls<span class="muted">judged every {plural(window.step, 'call')}</span></dd></div>
        <div><dt>Long window</dt><dd>{exact(long.calls)} of {exact(long.wanted)} calls<span class="muted">judged every {plural(long.step, 'call')}</span></dd></div>
        <div><dt>Drift is</dt><dd>PSI at least {score(settings.min_effect)} and p below {score(settings.alpha)}<span class="muted">nulls and other types counted in; twice in three steps, from {plural(settings.min_samples, 'value')} on</span></dd></div>
        <div><dt>Judged</dt><dd>{drift.judged_at ? <Time at={drift.judged_at} relative /> : <span class="muted">not yet</span>}<span class="muted">{exact(drift.calls)} calls seen, {bytes(drift.memory_bytes)}</span></dd></div>
      </dl>
      {drift.phase === 'waiting' && <p class="muted drift-hint">Its manifest says <code>baseline: manual</code>: pin one with <code>spanglass drift baseline {drift.plugin} --from data.jsonl --version {drift.version}</code>.</p>}
      <p class="drift-pin">
        <button type="button" class="button button-small" disabled={blocked !== null} onClick={onPin}>Pin the current window as the baseline…</button>
        {blocked && <span class="muted">{blocked}</span>}
      </p>
    </section>
  );
}
