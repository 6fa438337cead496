import { useMemo } from 'preact/hooks';
import { get } from '../../api/client';
import type { Plugin } from '../../api/model';
import { useData, useEvents, useThrottled } from '../../lib/data';
import { span } from '../../lib/format';
import { currentQuery, setQuery } from '../../lib/router';
import { instant, rfc3339 } from '../../lib/time';
import { Chart } from '../../parts/Chart';
import { ErrorBox } from '../../parts/ErrorBox';
import { Time } from '../../parts/Time';
import { Heatmap } from './Heatmap';
import { markersOf, specsOf, stepOf } from './model';

const EVERY_MS = 3_000;

export function Charts({ plugin }: { plugin: Plugin }) {
  const { since = '15m', until, version } = currentQuery.value;
  const key = [plugin.name, since, until, version].join(' ');
  const answers = useData(
    key,
    (signal) => {
      const step = stepOf(instant(since) ?? 0, instant(until) ?? Date.now());
      const query = { plugin: plugin.name, version, since, until, step };
      return Promise.all([get('/v1/series', { query, signal }), get('/v1/series', { query: { ...query, sum: true, heat: true }, signal })]);
    },
    // What is over does not change.
    until ? {} : { every: EVERY_MS },
  );
  useEvents({ change: useThrottled(answers.reload, 500) });
  const [byVersion, sum] = answers.data ?? [null, null];
  const specs = useMemo(() => {
    if (!byVersion || !sum) return null;
    const onRange = (from: number, to: number) => setQuery({ since: rfc3339(from * 1000), until: rfc3339(to * 1000) }, {});
    return specsOf(byVersion, sum, [...plugin.versions].reverse(), markersOf(plugin.history ?? []), onRange);
  }, [byVersion, sum, plugin.history, plugin.versions.join()]);
  return (
    <div class="stack">
      {answers.error && <ErrorBox error={answers.error} retry={answers.reload} title="There are no series" />}
      <div class="charts card">
        <Chart title="Calls a second" spec={specs?.rate ?? null} />
        <Chart title="Errors (blame plugin or host)" spec={specs?.errors ?? null} />
        <Chart title="Durations" spec={specs?.latency ?? null} height={190} />
        <Heatmap answer={sum} plugin={plugin.name} version={version} />
        <Chart title="CPU" spec={specs?.cpu ?? null} height={120} />
        <Chart title="Memory" spec={specs?.memory ?? null} height={120} />
        <p class="muted charts-said">
          {sum && <>One point is {span(sum.step_s)}. </>}
          {sum?.complete_from && Date.parse(sum.complete_from) > Date.parse(sum.from) && <>Nothing is known from before <Time at={sum.complete_from} />. </>}
          ▼ marks a change of a version: point at it to see who and why. Drag over a chart to look closer.
        </p>
      </div>
    </div>
  );
}
