// Durations over time on a canvas. A cell opens its calls: by pointer, or with arrows and Enter.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { SeriesAnswer } from '../../api/model';
import { clock, duration, exact, plural } from '../../lib/format';
import { addressOf, navigate } from '../../lib/router';
import { cssColour, shownTheme } from '../../lib/theme';
import { heatOf, queryOf, strength, type Heat } from './heat';

const LEFT = 62;
const BOTTOM = 20;
/** Always the same, so that nothing moves when there are more buckets. */
const HEIGHT = 216;
const ROW_MAX = 24;
/** Narrower cells cannot be hit. */
const CELL_MIN = 7;

export function Heatmap({ answer, plugin, version }: { answer: SeriesAnswer | null; plugin: string; version: string | undefined }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useSignal(0);
  const cell = useSignal<{ column: number; row: number } | null>(null);
  const theme = shownTheme.value;
  const heat = useMemo(() => (answer && width.value ? heatOf(answer, Math.floor((width.value - LEFT) / CELL_MIN)) : null), [answer, width.value]);
  const rowHeight = Math.min(ROW_MAX, (HEIGHT - BOTTOM) / (heat?.rows.length ?? 12));
  const height = (heat?.rows.length ?? 12) * rowHeight + BOTTOM;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => (width.value = element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (canvas.current && heat) paint(canvas.current, heat, width.value, rowHeight, cell.value);
  }, [heat, width.value, height, theme, cell.value]);

  const at = (event: MouseEvent): { column: number; row: number } | null => {
    const bounds = canvas.current?.getBoundingClientRect();
    if (!bounds || !heat) return null;
    const column = Math.floor(((event.clientX - bounds.left - LEFT) / (width.value - LEFT)) * heat.columns.length);
    const row = heat.rows.length - 1 - Math.floor((event.clientY - bounds.top) / rowHeight);
    return column >= 0 && column < heat.columns.length && row >= 0 && row < heat.rows.length ? { column, row } : null;
  };
  const open = (where: { column: number; row: number } | null) => {
    if (!heat || !where || !heat.counts[where.column]?.[where.row]) return;
    navigate(addressOf.invocations({ plugin, version, ...queryOf(heat, where.column, where.row) }));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!heat) return;
    const moves: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (event.key === 'Enter') open(cell.value);
    else if (move) {
      const { column, row } = cell.value ?? { column: heat.columns.length, row: 0 };
      cell.value = { column: Math.max(0, Math.min(heat.columns.length - 1, column + move[0])), row: Math.max(0, Math.min(heat.rows.length - 1, row + move[1])) };
    } else return;
    event.preventDefault();
  };
  const count = heat && cell.value ? (heat.counts[cell.value.column]?.[cell.value.row] ?? 0) : 0;
  return (
    <figure class="chart heatmap">
      <figcaption>Durations, and how many calls took so long</figcaption>
      <div ref={box} class="heatmap-box" style={{ height: `${HEIGHT}px` }}>
        {heat ? (
          <canvas
            ref={canvas} tabIndex={0} role="application" class={count ? 'heatmap-hit' : undefined}
            aria-label={`Heatmap of durations, ${plural(heat.total, 'call')}. Arrows move, Enter opens the calls of a cell.`}
            style={{ width: `${width.value}px`, height: `${height}px` }}
            onMouseMove={(event) => {
              const found = at(event);
              if (found?.column !== cell.value?.column || found?.row !== cell.value?.row) cell.value = found;
            }}
            onMouseLeave={() => (cell.value = null)}
            onClick={(event) => open(at(event))}
            onKeyDown={onKeyDown}
          />
        ) : (
          answer && <p class="muted heatmap-none">No call reached an attempt in this time.</p>
        )}
      </div>
      <p class="heatmap-said" role="status">
        {heat && cell.value ? <Said heat={heat} {...cell.value} count={count} /> : <span class="muted">Stronger is more. A cell opens its calls.</span>}
      </p>
    </figure>
  );
}

function Said({ heat, column, row, count }: { heat: Heat; column: number; row: number; count: number }) {
  const time = heat.columns[column];
  if (!time) return null;
  return <><strong>{plural(count, 'call')}</strong> took {range(heat, row)}, {clock(time.from * 1000)} – {clock(time.to * 1000)} <span class="muted">of {exact(heat.total)}</span></>;
}

function range(heat: Heat, row: number): string {
  const bucket = heat.rows[row];
  if (!bucket) return '';
  return bucket.max === null ? `${duration(bucket.min)} or more` : bucket.min === 0 ? `less than ${duration(bucket.max)}` : `${duration(bucket.min)} to ${duration(bucket.max)}`;
}

function paint(canvas: HTMLCanvasElement, heat: Heat, width: number, rowHeight: number, chosen: { column: number; row: number } | null): void {
  const scale = devicePixelRatio || 1;
  const height = heat.rows.length * rowHeight + BOTTOM;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  if (!context) return;
  context.scale(scale, scale);
  const cellWidth = (width - LEFT) / heat.columns.length;
  const [cold, hot] = [cssColour('--heat-0'), cssColour('--heat-1')];
  const ink = cssColour('--ink-quiet');
  context.font = '11px system-ui, sans-serif';
  heat.rows.forEach((_, row) => {
    const y = Math.round((heat.rows.length - 1 - row) * rowHeight);
    const cellHeight = Math.round((heat.rows.length - row) * rowHeight) - y;
    heat.columns.forEach((_, column) => {
      const count = heat.counts[column]?.[row] ?? 0;
      const [x, end] = [Math.round(LEFT + column * cellWidth), Math.round(LEFT + (column + 1) * cellWidth)];
      context.fillStyle = count ? `rgba(${hot}, ${strength(count, heat.top).toFixed(3)})` : `rgb(${cold})`;
      context.fillRect(x, y, Math.max(1, end - x - 1), cellHeight - 1);
      if (chosen?.column === column && chosen.row === row) {
        context.strokeStyle = cssColour('--ink');
        context.lineWidth = 1.5;
        context.strokeRect(x + 0.5, y + 0.5, Math.max(2, end - x - 2), cellHeight - 2);
      }
    });
    // The lower bound of each second row, at its lower edge.
    if (row % 2 === 1) {
      context.fillStyle = ink;
      context.textAlign = 'right';
      context.textBaseline = 'middle';
      context.fillText(duration(heat.rows[row]?.min ?? 0), LEFT - 8, y + cellHeight - 1);
    }
  });
  context.fillStyle = ink;
  context.textAlign = 'left';
  context.textBaseline = 'top';
  const labels = Math.max(1, Math.floor((width - LEFT) / 110));
  const every = Math.max(1, Math.ceil(heat.columns.length / labels));
  heat.columns.forEach((column, index) => {
    if (index % every === 0 && LEFT + index * cellWidth < width - 52) context.fillText(clock(column.from * 1000).slice(-8), LEFT + index * cellWidth, height - BOTTOM + 6);
  });
}
