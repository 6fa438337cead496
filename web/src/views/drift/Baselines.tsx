import type { Baseline } from '../../api/model';
import { exact } from '../../lib/format';
import { Badge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { Table, type Column } from '../../parts/Table';
import { Time } from '../../parts/Time';
import { shortId, sourceOf } from './model';

/** Those that are kept, newest first; one is pinned, any other can be again. */
export function Baselines({ items, onPin }: { items: Baseline[]; onPin: (baseline: Baseline) => void }) {
  if (items.length === 0) return <p class="muted">There is none yet.</p>;
  const columns: Column<Baseline>[] = [
    { id: 'id', head: 'Baseline', cell: (one) => <span class="row"><code title={one.id}>{shortId(one.id)}</code> <CopyButton text={one.id} title="Copy the whole id" /> {one.pinned && <Badge word="pinned" tone="info" title="The version is compared with it" />}</span> },
    { id: 'created', head: 'Made', class: 'nowrap', cell: (one) => <><Time at={one.created_at} /> <span class="muted"><Time at={one.created_at} relative /></span></> },
    { id: 'source', head: 'From', cell: (one) => sourceOf(one.source) },
    { id: 'calls', head: 'Calls', number: true, cell: (one) => exact(one.calls) },
    { id: 'fields', head: 'Fields', number: true, cell: (one) => exact(one.fields) },
    { id: 'do', head: <span class="off-screen">What can be done</span>, cell: (one) => (one.pinned ? null : <button type="button" class="button button-small" onClick={() => onPin(one)}>Pin again…<span class="off-screen"> {shortId(one.id)}</span></button>) },
  ];
  return <Table label="Baselines" items={items} columns={columns} keyOf={(one) => one.id} />;
}
