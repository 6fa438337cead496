// `/errors`: failed calls by plugin, kind and blame, each with an example that can be opened.

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get } from '../../api/client';
import type { ErrorGroup } from '../../api/model';
import { useData, useEvents, useStream, useThrottled } from '../../lib/data';
import { exact, plural } from '../../lib/format';
import { useShortcuts } from '../../lib/keys';
import { plainLine } from '../../lib/plain';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Empty } from '../../parts/Empty';
import { ErrorBox } from '../../parts/ErrorBox';
import { FilterBar } from '../../parts/FilterBar';
import { Time } from '../../parts/Time';
import './style.css';

export default function ErrorsView(): JSX.Element {
  const { plugin, blame, since, until, q = '' } = currentQuery.value;
  const { data, error, reload } = useData(JSON.stringify([plugin, blame, since, until]), (signal) => get('/v1/errors', { query: { plugin, blame, since, until }, signal }), { every: 30_000 });
  const refresh = useThrottled(reload, 2000);
  useStream({ topics: ['invocations'], outcome: 'failed', plugin });
  useEvents({ invocation: refresh });
  const [names, setNames] = useState<string[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    get('/v1/plugins', { query: { limit: 1000 }, signal: abort.signal })
      .then(({ items }) => setNames(items.map((one) => one.name)))
      .catch(() => undefined);
    return () => abort.abort();
  }, []);
  const wanted = q.toLowerCase();
  const groups = (data?.items ?? []).filter((group) => !wanted || `${group.plugin} ${group.kind} ${group.message}`.toLowerCase().includes(wanted));
  const [selected, select] = useState(-1);
  const move = (by: number) => {
    const next = Math.min(groups.length - 1, Math.max(0, selected + by));
    select(next);
    document.querySelector(`[data-group="${next}"]`)?.scrollIntoView({ block: 'nearest' });
  };
  useShortcuts([
    { keys: 'j', what: 'next group', group: 'Errors', run: () => move(1) },
    { keys: 'k', what: 'previous group', group: 'Errors', run: () => move(-1) },
    {
      keys: 'Enter',
      what: 'the example of the group',
      group: 'Errors',
      run: () => {
        const group = groups[selected];
        if (!group) return false;
        navigate(addressOf.invocation(group.example.invocation_id));
        return true;
      },
    },
  ]);
  const most = groups.reduce((found, group) => Math.max(found, group.count), 1);
  return (
    <section class="errors" aria-labelledby="errors-title">
      <header class="view-head">
        <h1 id="errors-title">Errors</h1>
        {data && (
          <span class="muted">
            {plural(groups.reduce((sum, group) => sum + group.count, 0), 'failed call')} in {plural(groups.length, 'group')}
            {!since && ' of the last 24 hours'}
          </span>
        )}
      </header>
      <FilterBar<'plugin' | 'blame' | 'since' | 'until' | 'q'>
        filters={{ plugin, blame, since, until, q }}
        set={setQuery}
        search={{ key: 'q', label: 'Search messages' }}
        choices={[
          { key: 'plugin', label: 'plugin', values: names },
          { key: 'blame', label: 'blame', values: ['plugin', 'host', 'caller'] },
        ]}
        range
      />
      {error && !data && <ErrorBox error={error} retry={reload} title="The errors cannot be loaded" />}
      {!data && !error && <div class="waiting" aria-busy="true" />}
      {data && groups.length === 0 && (
        <Empty title={plugin || blame || since || until || q ? 'No failed call matches' : 'No call has failed in the last 24 hours'} filters={['plugin', 'blame', 'since', 'until', 'q']} />
      )}
      {groups.length > 0 && (
        <ol class="groups">
          {groups.map((group, index) => (
            <Group key={`${group.plugin} ${group.kind} ${group.blame}`} group={group} index={index} selected={index === selected} share={group.count / most} since={since} until={until} />
          ))}
        </ol>
      )}
      {data && data.more > 0 && <p class="muted">{plural(data.more, 'more group')}: narrow the time or choose a plugin.</p>}
    </section>
  );
}

function Group({ group, index, selected, share, since, until }: { group: ErrorGroup; index: number; selected: boolean; share: number; since: string | undefined; until: string | undefined }): JSX.Element {
  const all = addressOf.invocations({ plugin: group.plugin, kind: group.kind, since: since ?? '24h', until });
  return (
    <li class={`group card ${selected ? 'selected' : ''}`} data-group={index}>
      <div class="group-count">
        <b>{exact(group.count)}</b>
        <span class="group-bar" aria-hidden="true">
          <i style={{ width: `${Math.max(2, share * 100)}%` }} />
        </span>
      </div>
      <div class="group-what">
        <p class="group-title">
          <Badge word={group.kind} tone={group.blame === 'caller' ? 'warn' : 'bad'} />
          <a href={addressOf.plugin(group.plugin)}>
            <b>{group.plugin}</b>
          </a>
          <span class="muted">{group.versions.join(', ')}</span>
          <span class="muted">blame: {group.blame}</span>
        </p>
        <p class="group-message" title={plainLine(group.message)}>
          {plainLine(group.message)}
        </p>
      </div>
      <dl class="group-when">
        <div>
          <dt>last</dt>
          <dd>
            <Time at={group.last_seen} relative />
          </dd>
        </div>
        <div>
          <dt>first</dt>
          <dd>
            <Time at={group.first_seen} relative />
          </dd>
        </div>
      </dl>
      <p class="group-links">
        <a href={addressOf.invocation(group.example.invocation_id)}>Example</a>
        <a href={all}>All calls</a>
        <a href={`/docs/errors/${group.kind}`} target="_blank" rel="noreferrer">
          What it means
        </a>
      </p>
    </li>
  );
}
