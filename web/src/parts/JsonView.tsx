// A JSON document to open and close, of any size: only what is in view is drawn.

import type { JSX } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { bytes, count } from '../lib/format';
import { jsonRows, openSmall, type JsonRow } from '../lib/json';
import { plainLine } from '../lib/plain';
import { CopyButton } from './CopyButton';
import { Windowed, type WindowedHandle } from './Windowed';

const ROW = 20;
/** Everything is opened at once only as long as that stays quick. */
const ALL_MAX = 20_000;

interface Props {
  value: unknown;
  label: string;
  /** Rows that are seen without scrolling. */
  rowsMax?: number;
  name?: string;
}

export function JsonView({ value, label, rowsMax = 26, name }: Props): JSX.Element {
  // What somebody opened or closed by hand; the rest follows the rule.
  const [changed, change] = useState<ReadonlyMap<string, boolean>>(new Map());
  const [all, setAll] = useState(false);
  const [selected, select] = useState(-1);
  const handle = useRef<WindowedHandle | null>(null);
  const rule = useMemo(() => openSmall(value), [value]);
  const text = useMemo(() => JSON.stringify(value, null, 2) ?? 'null', [value]);
  const rows = useMemo(() => jsonRows(value, (path, depth, size) => changed.get(path) ?? (all || rule(path, depth, size))), [value, changed, all, rule]);
  const toggle = (row: JsonRow, open = !row.open) => {
    if (row.open === null) return;
    change(new Map(changed).set(row.path, open));
  };
  const move = (event: KeyboardEvent) => {
    const to = (index: number) => {
      const next = Math.min(rows.length - 1, Math.max(0, index));
      select(next);
      handle.current?.reveal(next);
    };
    const row = rows[selected];
    if (event.key === 'ArrowDown') to(selected + 1);
    else if (event.key === 'ArrowUp') to(selected - 1);
    else if (event.key === 'Home') to(0);
    else if (event.key === 'End') to(rows.length - 1);
    else if (event.key === 'ArrowRight' && row?.open === false) toggle(row, true);
    else if (event.key === 'ArrowLeft' && row?.open) toggle(row, false);
    else if (event.key === 'Enter' && row) toggle(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="json">
      <div class="json-tools">
        <span class="size">{bytes(text.length)}</span>
        <button type="button" class="button button-small button-quiet" onClick={() => (setAll(true), change(new Map()))} disabled={text.length > ALL_MAX * 20} title={text.length > ALL_MAX * 20 ? 'Too large to open at once' : undefined}>
          Open all
        </button>
        <button type="button" class="button button-small button-quiet" onClick={() => (setAll(false), change(new Map([['', true]])))}>
          Close
        </button>
        <CopyButton text={text} title={`Copy ${label}`} />
        <button type="button" class="button button-small button-quiet" onClick={() => download(text, `${name ?? label}.json`, 'application/json')}>
          Download
        </button>
      </div>
      <div class="json-box" style={{ height: `${Math.min(rows.length, rowsMax) * ROW + 10}px` }} onKeyDown={move}>
        <Windowed
          role="tree"
          label={label}
          count={rows.length}
          rowHeight={ROW}
          handle={handle}
          row={(index) => {
            const row = rows[index]!;
            return (
              <div
                key={row.path}
                role="treeitem"
                aria-level={row.depth + 1}
                aria-expanded={row.open ?? undefined}
                aria-selected={index === selected}
                class={`json-row json-${row.kind} ${row.open === null ? '' : 'can-open'} ${index === selected ? 'selected' : ''}`}
                style={{ paddingLeft: `${6 + Math.min(row.depth, 40) * 14}px` }}
                onClick={() => (select(index), toggle(row))}
              >
                <i class="caret" aria-hidden="true">
                  {row.open === null ? '' : row.open ? '▾' : '▸'}
                </i>
                {row.key !== null && <span class="json-key">{plainLine(row.key)}: </span>}
                <span class={`json-value ${row.text === '"[redacted]"' ? 'redacted' : ''}`}>{plainLine(row.text)}</span>
                {row.open === false && row.kind !== 'string' && <span class="json-size">{row.kind === 'object' ? ` … } ${count(row.size)} members` : row.kind === 'array' ? ` … ] ${count(row.size)} items` : ''}</span>}
                {row.kind === 'string' && row.open !== null && <span class="json-size"> {count(row.size)} characters</span>}
              </div>
            );
          }}
        />
      </div>
    </div>
  );
}

export function download(text: string, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
