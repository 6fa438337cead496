import type { Plugin, Version } from '../../api/model';
import { plain } from '../../lib/plain';
import { setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { Table, type Column } from '../../parts/Table';
import { Time } from '../../parts/Time';
import type { Change } from './change';

type History = NonNullable<Plugin['history']>[number];

export function Versions({ plugin, versions, onChange }: { plugin: Plugin; versions: Version[]; onChange: (change: Change) => void }) {
  const columns: Column<Version>[] = [
    { id: 'version', head: 'Version', cell: (one) => <span class="mono strong">{one.version}</span> },
    {
      id: 'state', head: 'State',
      cell: (one) => (
        <>
          <Badge word={one.state === 'registered' ? 'disabled' : one.state} />{' '}
          {one.version === plugin.version && <Badge word="gets the calls" tone="info" />}{' '}
          {one.held_back && <Badge word="held back" tone="warn" title="Rolled back: it gets only calls that name it" />}{' '}
          {one.crash_loop && <Badge word="crash loop" tone="bad" />}
          {(one.cause ?? one.crash_loop?.error) && <p class="bad wrap-text">{plain(one.cause ?? one.crash_loop?.error ?? '')}</p>}
        </>
      ),
    },
    { id: 'registered', head: 'Registered', cell: (one) => <Time at={one.registered_at} /> },
    { id: 'start', head: 'Workers', cell: (one) => (one.start ? <span title={one.start.reason ?? undefined}>{one.start.mode === 'fork' ? 'forked' : 'spawned'}</span> : <span class="muted">none yet</span>) },
    {
      id: 'digest', head: 'Package',
      cell: (one) => <span class="row nowrap"><code title={one.digest}>{one.digest.replace('sha256:', '').slice(0, 12)}</code> <CopyButton text={one.digest} title="Copy the whole digest" /></span>,
    },
    {
      id: 'do', head: <span class="off-screen">What can be done</span>,
      cell: (one) => {
        const does = (what: Change['what'], label: string, more = '') => (
          <button type="button" class={`button button-small ${more}`} onClick={() => onChange({ what, version: one.version })} aria-label={`${label} ${one.version}`}>{label}…</button>
        );
        const current = one.version === plugin.version;
        const lower = versions.findIndex((other) => other.version === one.version) > versions.findIndex((other) => other.version === plugin.version) && plugin.version !== null;
        return (
          <span class="version-buttons">
            <button type="button" class="button button-small" onClick={() => setQuery({ tab: 'try', version: one.version })}>Try it</button>
            {!current && lower && one.state === 'running' && does('rollback', 'Roll back')}
            {(one.state !== 'running' || one.held_back) && does('enable', 'Enable')}
            {one.state === 'running' && does('disable', 'Disable')}
            {does('remove', 'Remove', 'button-bad')}
          </span>
        );
      },
    },
  ];
  return (
    <div class="stack">
      <section class="card">
        <h2>Versions</h2>
        <Table label="Versions" items={versions} columns={columns} keyOf={(one) => one.version} />
      </section>
      <section class="card">
        <h2>What happened to them</h2>
        <Table label="History" items={plugin.history ?? []} columns={HISTORY} keyOf={(one) => `${one.at} ${one.version} ${one.to}`} />
        {!plugin.history?.length && <p class="muted">Nothing is known.</p>}
      </section>
    </div>
  );
}

const HISTORY: Column<History>[] = [
  { id: 'at', head: 'When', class: 'nowrap', cell: (one) => <><Time at={one.at} /> <span class="muted"><Time at={one.at} relative /></span></> },
  { id: 'version', head: 'Version', cell: (one) => <span class="mono">{one.version}</span> },
  { id: 'to', head: 'Became', class: 'nowrap', cell: (one) => <><span class="muted">{one.from} → </span><Badge word={one.to} /></> },
  { id: 'by', head: 'By', cell: (one) => one.by },
  { id: 'why', head: 'Why', cell: (one) => <span class={one.to === 'failed' ? 'bad wrap-text' : 'wrap-text'}>{plain([one.cause, one.reason].filter(Boolean).join('; '))}</span> },
];
