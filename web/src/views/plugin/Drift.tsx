import { get } from '../../api/client';
import type { DriftOverview } from '../../api/model';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { exact, plural } from '../../lib/format';
import { cutLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Time } from '../../parts/Time';

const EVERY_MS = 10_000;
const NAMES_MOST = 3;
const NAME_MOST = 60;

/** Drift in a line: of the chosen version, else of the one that gets the calls. The view of drift says the rest. */
export function Drift({ plugin, version }: { plugin: string; version: string | undefined }) {
  const { data, error, reload } = useData('all', (signal) => get('/v1/drift', { signal }), { every: EVERY_MS });
  const soon = useThrottled(reload, 300);
  useEvents({ alert: soon, change: soon });
  const one = data?.items.find((watched) => watched.plugin === plugin && (version ? watched.version === version : watched.takes_calls));
  return (
    <section class="card drift-card" aria-label="Drift" aria-busy={!data && !error}>
      <h2>Drift</h2>
      {error && !data && <span class="muted">It cannot be told: {error.detail}</span>}
      {data && (one ? <Line one={one} /> : <span class="muted">Not watched: {version ? `the manifest of ${version}` : 'its manifest'} has no <code>observe</code>.</span>)}
    </section>
  );
}

function Line({ one }: { one: DriftOverview }) {
  const to = (field?: string) => addressOf.drift(one.plugin, { version: one.version, field });
  return (
    <>
      <Badge word={one.state} />
      {one.since && <span class="muted nowrap">since <Time at={one.since} relative /></span>}
      {one.drifting.slice(0, NAMES_MOST).map((field) => <a key={field} class="drift-card-field" href={to(field)}><code>{cutLine(field, NAME_MOST)}</code></a>)}
      {one.drifting.length > NAMES_MOST && <span>and {exact(one.drifting.length - NAMES_MOST)} more</span>}
      {one.phase === 'capturing' && one.capture && <span>its baseline is being captured, {exact(one.capture.calls)} of {exact(one.capture.wanted)} calls</span>}
      {one.phase === 'waiting' && <span>it waits for a baseline</span>}
      <a class="row-end" href={to()}>{plural(one.fields, 'field')} of {one.version} watched</a>
    </>
  );
}
