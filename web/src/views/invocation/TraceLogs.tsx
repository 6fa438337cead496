// All lines of a trace in the order of time, whoever wrote them.

import type { JSX } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { duration, plural } from '../../lib/format';
import { compareInstants, millisecondsBetween, parseInstant, type Instant } from '../../lib/instant';
import { narrow } from '../../lib/media';
import { addressOf, currentQuery, setQuery } from '../../lib/router';
import { LogFields, LogRow, logKey, type LogRecord } from '../../parts/LogLines';
import { Windowed, type WindowedHandle } from '../../parts/Windowed';

const ZERO: Instant = { seconds: 0, nanos: 0 };
const ROWS_MAX = 26;

export function inOrder(logs: readonly LogRecord[]): LogRecord[] {
  return logs
    .map((log, index) => ({ log, index, at: parseInstant(log.timestamp) ?? ZERO }))
    .sort((a, b) => compareInstants(a.at, b.at) || a.index - b.index)
    .map(({ log }) => log);
}

export function TraceLogs({ logs, begin, trace, onSpan, running }: { logs: LogRecord[]; begin: string; trace: string; onSpan: (id: string) => void; running: boolean }): JSX.Element {
  const source = currentQuery.value.stream ?? '';
  const at = currentQuery.value.at ?? '';
  const sorted = useMemo(() => inOrder(logs), [logs]);
  const shown = sorted.filter((log) => source === '' || (source === 'plugin' ? log.stream !== 'host' : log.stream === source));
  const [selected, select] = useState<string | null>(() => {
    const found = at ? sorted.find((log) => log.timestamp === at) : undefined;
    return found ? logKey(found) : null;
  });
  const handle = useRef<WindowedHandle | null>(null);
  const chosen = shown.find((log) => logKey(log) === selected);
  const rowHeight = narrow.value ? 44 : 24;
  const beginning = parseInstant(begin);
  const spanOf = chosen?.span_id;
  const offset = chosen && beginning ? millisecondsBetween(beginning, parseInstant(chosen.timestamp) ?? beginning) : 0;
  return (
    <div class="trace-logs">
      <div class="trace-tools">
        <label>
          From
          <select value={source} onChange={(event) => setQuery({ stream: event.currentTarget.value })}>
            <option value="">everybody</option>
            <option value="plugin">the plugin</option>
            <option value="host">the runner</option>
            <option value="stdout">stdout (print)</option>
            <option value="stderr">stderr</option>
            <option value="sdk">ctx.log</option>
          </select>
        </label>
        <span class="muted">
          {plural(shown.length, 'line')}
          {shown.length < sorted.length && ` of ${sorted.length}`}
        </span>
        <a class="row-end" href={addressOf.logs({ trace })}>
          Open in Logs
        </a>
      </div>
      {shown.length === 0 ? (
        <p class="empty muted">{running ? 'No line so far.' : source ? `No line from this source; ${plural(sorted.length, 'line')} from others.` : 'Nothing was logged.'}</p>
      ) : (
        <div class={`trace-split ${chosen ? 'with-detail' : ''}`}>
          <div class="trace-box" style={{ height: `${Math.min(shown.length, ROWS_MAX) * rowHeight + 4}px` }}>
            <Windowed
              label="Log lines, in order of time"
              count={shown.length}
              rowHeight={rowHeight}
              handle={handle}
              row={(index) => {
                const log = shown[index]!;
                const key = logKey(log);
                return <LogRow key={`${key}#${index}`} log={log} index={index} selected={key === selected} narrow={narrow.value} onClick={() => select(key === selected ? null : key)} />;
              }}
            />
          </div>
          {chosen && (
            <aside class="span-detail" aria-label="Log line">
              <header>
                <h3>{duration(offset)} after the beginning</h3>
                <button type="button" class="button button-small button-quiet" aria-label="Close the line" onClick={() => select(null)}>
                  ✕
                </button>
              </header>
              {spanOf && (
                <p>
                  <button type="button" class="link" onClick={() => onSpan(spanOf)}>
                    Show its span
                  </button>
                </p>
              )}
              <LogFields log={chosen} />
            </aside>
          )}
        </div>
      )}
    </div>
  );
}
