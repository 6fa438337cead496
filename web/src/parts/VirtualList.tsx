import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { useShortcuts } from '../lib/keys';
import { scrollFor, visibleRows } from './window';

export interface VirtualListProps<T> {
  items: T[];
  rowHeight: number;
  label: string;
  keyOf: (item: T) => string;
  /** What stands in a row. Its outermost element is the list's own. */
  row: (item: T, index: number) => ComponentChildren;
  rowClass?: (item: T, index: number) => string;
  /** Enter, or a click on the row. */
  onOpen?: (item: T) => void;
  /** The last row comes into view: time to get more. */
  onEnd?: () => void;
  /** Stays at the end while items are added there, unless somebody has scrolled up. */
  follow?: boolean;
  /** Stays where it is while items are added at the beginning. Default: true. */
  anchor?: boolean;
  /** Scrolls to this row and marks it when it changes. */
  selectedKey?: string | null;
  onSelect?: (item: T, index: number) => void;
  class?: string;
  onScrolledUp?: (up: boolean) => void;
  /** `j` and `k` move in this list. One a view. */
  keys?: boolean;
}

/** Rows of one height, of which only those in view are in the document. */
export function VirtualList<T>(props: VirtualListProps<T>) {
  const { items, rowHeight, keyOf, label } = props;
  const box = useRef<HTMLDivElement>(null);
  const view = useSignal({ top: 0, height: 600 });
  const selected = useSignal<string | null>(props.selectedKey ?? null);
  const atEnd = useRef(true);
  const firstKey = useRef<string | null>(null);
  const total = items.length;

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => (view.value = { top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);

  // What comes in above pushes nothing away under the eyes of somebody who has scrolled.
  useLayoutEffect(() => {
    const element = box.current;
    const before = firstKey.current;
    firstKey.current = total ? keyOf(items[0] as T) : null;
    if (!element) return;
    if (props.follow && atEnd.current) {
      element.scrollTop = element.scrollHeight;
    } else if (props.anchor !== false && !props.follow && before && before !== firstKey.current && element.scrollTop > 0) {
      const moved = items.findIndex((item) => keyOf(item) === before);
      if (moved > 0) element.scrollTop += moved * rowHeight;
    }
  }, [items, props.follow]);

  const scrollTo = (index: number) => {
    const element = box.current;
    if (element) element.scrollTop = scrollFor(index, element.scrollTop, element.clientHeight, rowHeight);
  };
  const select = (index: number) => {
    const item = items[index];
    if (item === undefined) return;
    selected.value = keyOf(item);
    scrollTo(index);
    props.onSelect?.(item, index);
  };
  useEffect(() => {
    if (props.selectedKey === undefined || props.selectedKey === selected.peek()) return;
    selected.value = props.selectedKey;
    const index = items.findIndex((item) => keyOf(item) === props.selectedKey);
    if (index >= 0) scrollTo(index);
  }, [props.selectedKey]);

  const indexOfSelected = () => items.findIndex((item) => keyOf(item) === selected.value);
  const move = (step: number) => {
    const index = indexOfSelected();
    select(Math.max(0, Math.min(total - 1, index < 0 ? (step > 0 ? 0 : total - 1) : index + step)));
  };
  const open = () => {
    const item = items[indexOfSelected()];
    if (item === undefined || !props.onOpen) return false;
    props.onOpen(item);
    return true;
  };
  useShortcuts(
    props.keys === false
      ? []
      : [
          { keys: 'j', what: 'Next row', group: 'Lists', run: () => move(1) },
          { keys: 'k', what: 'Row before', group: 'Lists', run: () => move(-1) },
          { keys: 'Enter', what: 'Open the row', group: 'Lists', run: open },
        ],
  );

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    view.value = { top: element.scrollTop, height: element.clientHeight };
    const end = element.scrollTop + element.clientHeight >= element.scrollHeight - rowHeight;
    if (atEnd.current !== end) {
      atEnd.current = end;
      props.onScrolledUp?.(!end);
    }
    if (end) props.onEnd?.();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== box.current) return;
    const page = Math.max(1, Math.floor(view.value.height / rowHeight) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -total, End: total };
    const step = steps[event.key];
    if (step !== undefined) move(step);
    else if (event.key !== 'Enter' || !open()) return;
    event.preventDefault();
  };

  const { first, end } = visibleRows(view.value.top, view.value.height, rowHeight, total);
  return (
    <div
      ref={box}
      class={`vlist ${props.class ?? ''}`}
      tabIndex={0}
      role="listbox"
      aria-label={label}
      aria-activedescendant={selected.value ? `row-${selected.value}` : undefined}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div class="vlist-space" role="presentation" style={{ height: `${total * rowHeight}px` }}>
        {items.slice(first, end).map((item, offset) => {
          const index = first + offset;
          const key = keyOf(item);
          return (
            <div
              key={key}
              id={`row-${key}`}
              role="option"
              aria-selected={key === selected.value}
              aria-posinset={index + 1}
              aria-setsize={total}
              class={`vlist-row ${props.rowClass?.(item, index) ?? ''}`}
              style={{ height: `${rowHeight}px`, transform: `translateY(${index * rowHeight}px)` }}
              onClick={(event) => {
                // A text that was marked to be copied, or a link in the row, opens nothing.
                if ((event.target as Element).closest('a, button') || getSelection()?.toString()) return;
                select(index);
                props.onOpen?.(item);
              }}
            >
              {props.row(item, index)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
