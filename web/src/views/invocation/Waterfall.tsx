// Spans over time. Rows are windowed, so that ten thousand scroll as ten do.

import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { duration, plural } from '../../lib/format';
import { useShortcuts } from '../../lib/keys';
import { narrow } from '../../lib/media';
import { currentQuery, setQuery } from '../../lib/router';
import type { LogRecord } from '../../parts/LogLines';
import { Windowed, type WindowedHandle } from '../../parts/Windowed';
import { criticalPaths, sectionsLength } from './critical';
import { collapsedTo, logsBySpan, opened, rowsOf } from './rows';
import { tickLabel, ticks, zoomed, type Range } from './scale';
import { SpanDetail } from './SpanDetail';
import { SpanRow } from './SpanRow';
import type { Tree } from './tree';

const SHORTER = [
  ['', 'all'],
  ['0.01', '10 µs'],
  ['0.1', '100 µs'],
  ['1', '1 ms'],
  ['10', '10 ms'],
  ['100', '100 ms'],
  ['1000', '1 s'],
] as const;
const ROWS_MAX = 28;

export function Waterfall({ tree, logs }: { tree: Tree; logs: LogRecord[] }): JSX.Element {
  const query = currentQuery.value;
  const { span: selected = '', shorter = '', path: pathMode = '', find = '', lines = '' } = query;
  const depth = query.depth ?? '';
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(() => (depth ? collapsedTo(tree, Number(depth)) : new Set<string>()));
  const whole: Range = { from: 0, to: Math.max(tree.duration, 0.001) };
  const [range, setRange] = useState<Range>(whole);
  useEffect(() => setRange(whole), [tree]);
  const handle = useRef<WindowedHandle | null>(null);

  const critical = useMemo(() => criticalPaths(tree), [tree]);
  const bySpan = useMemo(() => logsBySpan(tree, logs), [tree, logs]);
  const { rows, hidden } = useMemo(
    () =>
      rowsOf(tree, {
        collapsed,
        shorterThanMs: Number(shorter) || 0,
        text: find,
        ...(pathMode === 'only' ? { only: new Set(critical.keys()) } : {}),
        ...(lines ? { logs: bySpan } : {}),
      }),
    [tree, collapsed, shorter, find, pathMode, lines, bySpan, critical],
  );
  const at = rows.findIndex((row) => row.type === 'span' && row.node.span.span_id === selected);
  const node = tree.nodes[tree.byId.get(selected) ?? -1];

  const select = (id: string | null) => setQuery({ span: id });
  const show = (index: number) => {
    const row = rows[index];
    if (!row) return;
    select(row.node.span.span_id);
    handle.current?.reveal(index);
  };
  const move = (by: number) => {
    let next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
    while (rows[next]?.type === 'log') next += by;
    show(next);
  };
  const toggle = (id: string, close?: boolean) => {
    const next = new Set(collapsed);
    if (close ?? !next.has(id)) next.add(id);
    else next.delete(id);
    setCollapsed(next);
  };
  const toDepth = (value: string) => {
    setQuery({ depth: value || null });
    setCollapsed(value ? collapsedTo(tree, Number(value)) : new Set());
  };
  // A link to a span shows it, whatever hides it.
  useLayoutEffect(() => {
    if (!node) return;
    const open = opened(tree, collapsed, selected);
    if (open.size !== collapsed.size) setCollapsed(open);
    else if (at >= 0) handle.current?.reveal(at);
  }, [selected, tree]);

  useShortcuts([
    { keys: 'j', what: 'next span', group: 'Trace', run: () => move(1) },
    { keys: 'k', what: 'previous span', group: 'Trace', run: () => move(-1) },
    { keys: '[', what: 'collapse the span', group: 'Trace', run: () => (selected ? toggle(selected, true) : toDepth('1')) },
    { keys: ']', what: 'open the span', group: 'Trace', run: () => (selected ? toggle(selected, false) : toDepth('')) },
    { keys: '{', what: 'collapse all', group: 'Trace', run: () => toDepth('1') },
    { keys: '}', what: 'open all', group: 'Trace', run: () => toDepth('') },
    { keys: 'c', what: 'critical path', group: 'Trace', run: () => setQuery({ path: pathMode ? null : 'mark' }) },
    { keys: 'w', what: 'log lines at their spans', group: 'Trace', run: () => setQuery({ lines: lines ? null : '1' }) },
    { keys: '0', what: 'the whole time', group: 'Trace', run: () => setRange(whole) },
    { keys: 'Escape', what: 'close the span', group: 'Trace', run: () => (selected ? select(null) : false), hidden: true },
  ]);

  const rowHeight = narrow.value ? 40 : 26;
  const isZoomed = range.from > whole.from || range.to < whole.to;
  return (
    <div class="waterfall">
      <div class="trace-tools">
        <input type="search" aria-label="Find spans" placeholder="Find spans" value={find} onInput={(event) => setQuery({ find: event.currentTarget.value })} />
        <label>
          Depth
          <select value={depth} onChange={(event) => toDepth(event.currentTarget.value)}>
            <option value="">all</option>
            {Array.from({ length: Math.min(tree.depth, 9) }, (_, index) => (
              <option key={index} value={String(index)}>
                {index === 0 ? 'roots' : index}
              </option>
            ))}
          </select>
        </label>
        <label>
          Hide below
          <select value={shorter} onChange={(event) => setQuery({ shorter: event.currentTarget.value })}>
            {SHORTER.map(([value, label]) => (
              <option key={value} value={value}>
                {value ? label : 'nothing'}
              </option>
            ))}
          </select>
        </label>
        <label>
          Critical path
          <select value={pathMode} onChange={(event) => setQuery({ path: event.currentTarget.value })}>
            <option value="">off</option>
            <option value="mark">marked</option>
            <option value="only">only</option>
          </select>
        </label>
        <label class="check">
          <input type="checkbox" checked={lines !== ''} onChange={(event) => setQuery({ lines: event.currentTarget.checked ? '1' : null })} /> log lines
        </label>
        {isZoomed && (
          <button type="button" class="button button-small" onClick={() => setRange(whole)}>
            Whole time
          </button>
        )}
        <span class="muted trace-count">
          {plural(tree.nodes.length, 'span')}
          {hidden > 0 && `, ${plural(hidden, 'span')} hidden`}
          {tree.orphans > 0 && `, ${tree.orphans} without their parent`}
          {tree.cycles > 0 && `, ${tree.cycles} in circles`}
        </span>
      </div>
      <div class={`trace-split ${node ? 'with-detail' : ''}`}>
        <div class="trace-box" style={{ height: `${Math.max(3, Math.min(rows.length, ROWS_MAX)) * rowHeight + 30}px` }}>
          <Windowed
            class="spans"
            role="treegrid"
            label="Spans"
            count={rows.length}
            rowHeight={rowHeight}
            handle={handle}
            header={<Ruler range={range} whole={whole} onZoom={(wanted) => setRange(zoomed(whole, wanted))} />}
            row={(index) => {
              const row = rows[index]!;
              const id = row.node.span.span_id;
              return (
                <SpanRow
                  key={row.type === 'span' ? row.node.index : `${index}:log`}
                  row={row}
                  index={index}
                  range={range}
                  selected={row.type === 'span' && id === selected && row.node === node}
                  path={pathMode ? (critical.get(row.node.index) ?? null) : null}
                  indent={narrow.value ? 8 : 14}
                  onSelect={select}
                  onToggle={toggle}
                />
              );
            }}
            footer={rows.length === 0 ? <p class="list-foot">No span matches. {find && `Text: “${find}”. `}{shorter && `Shorter than ${shorter} ms are hidden.`}</p> : undefined}
          />
        </div>
        {node && <SpanDetail tree={tree} node={node} logs={bySpan.get(selected) ?? []} onPath={sectionsLength(critical.get(node.index) ?? [])} onClose={() => select(null)} onSelect={(id) => select(id)} />}
      </div>
    </div>
  );
}

/** The axis; a stretch that is drawn over with the pointer is shown alone. */
function Ruler({ range, whole, onZoom }: { range: Range; whole: Range; onZoom: (range: Range) => void }): JSX.Element {
  const line = useRef<HTMLSpanElement>(null);
  const [width, setWidth] = useState(600);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(() => line.current && setWidth(line.current.clientWidth));
    observer.observe(line.current!);
    return () => observer.disconnect();
  }, []);
  const marks = ticks(range, Math.max(2, Math.floor(width / 110)));
  const step = marks.length > 1 ? marks[1]! - marks[0]! : range.to - range.from;
  const percent = (at: number) => ((at - range.from) / (range.to - range.from)) * 100;
  const timeAt = (event: PointerEvent) => {
    const box = line.current!.getBoundingClientRect();
    return range.from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (range.to - range.from);
  };
  return (
    <div role="row" class="span-row ruler" aria-rowindex={1}>
      <span role="columnheader" class="span-name">
        Span
      </span>
      <span
        role="columnheader"
        class="span-line"
        ref={line}
        aria-label={`Time, ${duration(range.from)} to ${duration(range.to)} of ${duration(whole.to)}`}
        title="Draw over a stretch to zoom, double-click for the whole"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          const from = timeAt(event);
          setDrag({ from, to: from });
        }}
        onPointerMove={(event) => drag && setDrag({ from: drag.from, to: timeAt(event) })}
        onPointerUp={() => {
          if (drag && Math.abs(percent(drag.to) - percent(drag.from)) > 0.5) onZoom(drag);
          setDrag(null);
        }}
        onDblClick={() => onZoom(whole)}
      >
        {marks.map((at) => (
          <span key={at} class={`tick ${percent(at) > 92 ? 'last' : ''}`} style={{ left: `${percent(at)}%` }}>
            {tickLabel(at, step)}
          </span>
        ))}
        {drag && <i class="zoom" style={{ left: `${Math.min(percent(drag.from), percent(drag.to))}%`, width: `${Math.abs(percent(drag.to) - percent(drag.from))}%` }} />}
      </span>
      <span role="columnheader" class="span-time">
        Time
      </span>
    </div>
  );
}
