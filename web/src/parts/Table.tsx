import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { useShortcuts } from '../lib/keys';

export interface Column<T> {
  id: string;
  head: ComponentChildren;
  cell: (item: T) => ComponentChildren;
  /** Numbers stand at the right. */
  number?: boolean;
  /** Makes the head a button that sorts by this. */
  sort?: (item: T) => number | string | null;
  class?: string;
}

/** A table of at most some hundred rows; on narrow screens each row becomes a card with labels. */
export function Table<T>(props: {
  label: string;
  items: T[];
  columns: Column<T>[];
  keyOf: (item: T) => string;
  rowClass?: (item: T) => string;
  onOpen?: (item: T) => void;
  keys?: boolean;
}) {
  const { items, columns, keyOf } = props;
  const order = useSignal<{ id: string; down: boolean } | null>(null);
  const selected = useSignal(-1);
  const body = useRef<HTMLTableSectionElement>(null);
  const column = columns.find((one) => one.id === order.value?.id);
  const sorted = column?.sort ? sortBy(items, column.sort, order.value?.down ?? false) : items;

  useEffect(() => {
    if (selected.value >= items.length) selected.value = items.length - 1;
  }, [items.length]);
  const move = (step: number) => {
    selected.value = Math.max(0, Math.min(sorted.length - 1, selected.value + step));
    body.current?.children[selected.value]?.scrollIntoView({ block: 'nearest' });
  };
  const keys = props.keys && props.onOpen;
  useShortcuts(
    keys
      ? [
          { keys: 'j', what: 'Next row', group: 'Lists', run: () => move(1) },
          { keys: 'k', what: 'Row before', group: 'Lists', run: () => move(-1) },
          {
            keys: 'Enter', what: 'Open the row', group: 'Lists',
            run: () => {
              const item = sorted[selected.value];
              if (item === undefined) return false;
              props.onOpen?.(item);
            },
          },
        ]
      : [],
  );

  return (
    <div class="table-box">
      <table class="table" aria-label={props.label}>
        <thead>
          <tr>
            {columns.map((one) => {
              const down = order.value?.id === one.id ? order.value.down : null;
              return (
                <th key={one.id} scope="col" class={one.number ? 'number' : one.class} aria-sort={down === null ? undefined : down ? 'descending' : 'ascending'}>
                  {one.sort ? (
                    <button type="button" class="sort" onClick={() => (order.value = down === false ? null : { id: one.id, down: down === null })}>
                      {one.head}<span class="sort-mark" aria-hidden="true">{down === null ? '' : down ? '↓' : '↑'}</span>
                    </button>
                  ) : one.head}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody ref={body}>
          {sorted.map((item, index) => (
            <tr
              key={keyOf(item)}
              class={`${props.rowClass?.(item) ?? ''} ${index === selected.value ? 'selected' : ''} ${props.onOpen ? 'opens' : ''}`}
              onClick={(event) => {
                if (!props.onOpen || (event.target as Element).closest('a, button, summary, input') || getSelection()?.toString()) return;
                props.onOpen(item);
              }}
            >
              {columns.map((one) => (
                <td key={one.id} class={`${one.number ? 'number' : ''} ${one.class ?? ''}`} data-label={typeof one.head === 'string' ? one.head : undefined}>{one.cell(item)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What has no value stands last, whichever way it is sorted. */
export function sortBy<T>(items: T[], value: (item: T) => number | string | null, down: boolean): T[] {
  return [...items].sort((left, right) => {
    const [a, b] = [value(left), value(right)];
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
    return down ? -order : order;
  });
}
