// A long list of which only the rows in view are in the DOM. Rows have one height.

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { reveal, slice } from '../lib/windowing';
import './windowed.css';
import './lists.css';

export interface WindowedHandle {
  /** Scrolls as little as possible to show the row. */
  reveal: (row: number) => void;
  to: (scrollTop: number) => void;
  element: HTMLElement | null;
}

interface Props {
  count: number;
  rowHeight: number;
  /** Draws one row; it must carry `key`. */
  row: (index: number) => ComponentChildren;
  label: string;
  /** `table` where rows have cells, else `list`; the rows' own roles must fit. */
  role?: 'table' | 'list' | 'tree' | 'treegrid';
  class?: string;
  /** Above the rows, scrolled along or stuck by its own style. */
  header?: ComponentChildren;
  footer?: ComponentChildren;
  onSeen?: (from: number, to: number) => void;
  onScroll?: (top: number) => void;
  handle?: { current: WindowedHandle | null };
}

export function Windowed({ count, rowHeight, row, label, role = 'table', header, footer, onSeen, onScroll, handle, ...rest }: Props): JSX.Element {
  const noHandle = useRef<WindowedHandle | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const headerBox = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ scrollTop: 0, height: 600 });
  const part = slice({ ...view, rowHeight, count });

  const measure = () => {
    const element = scroller.current;
    if (!element) return;
    // The header stands above the rows within the same scrolled box.
    const above = headerBox.current?.offsetHeight ?? 0;
    const next = { scrollTop: element.scrollTop, height: Math.max(0, element.clientHeight - above) };
    setView((before) => {
      if (before.height === next.height) {
        // As long as the same rows are in view nothing is drawn anew: the browser moves what is there.
        const a = slice({ ...before, rowHeight, count });
        const b = slice({ ...next, rowHeight, count });
        if (a.from === b.from && a.to === b.to && a.top === b.top) return before;
      }
      return next;
    });
  };
  useLayoutEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [rowHeight, count]);
  useEffect(() => onSeen?.(part.from, part.to), [part.from, part.to, count]);
  useImperativeHandle(handle ?? noHandle, () => ({
    reveal: (index) => {
      const element = scroller.current;
      if (!element) return;
      const above = headerBox.current?.offsetHeight ?? 0;
      element.scrollTop = reveal(index, { scrollTop: element.scrollTop, height: element.clientHeight - above, rowHeight, count });
      measure();
    },
    to: (scrollTop) => {
      if (scroller.current) scroller.current.scrollTop = scrollTop;
      measure();
    },
    element: scroller.current,
  }));

  const rows: ComponentChildren[] = [];
  for (let index = part.from; index < part.to; index++) rows.push(row(index));
  return (
    <div
      {...rest}
      class={`windowed ${rest.class ?? ''}`}
      ref={scroller}
      role="group"
      aria-label={label}
      tabIndex={0}
      onScroll={(event) => {
        onScroll?.(event.currentTarget.scrollTop);
        measure();
      }}
    >
      <div role={role} aria-label={label} aria-rowcount={role === 'table' || role === 'treegrid' ? count : undefined}>
        <div ref={headerBox} class="windowed-head" role="presentation">
          {header}
        </div>
        <div class="windowed-body" role="presentation" style={{ height: `${part.total}px` }}>
          <div class="windowed-rows" role="presentation" style={{ transform: `translateY(${part.top}px)` }}>
            {rows}
          </div>
        </div>
      </div>
      {footer}
    </div>
  );
}
