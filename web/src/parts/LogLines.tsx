// Log lines as they are shown everywhere: time, level, where from, text.

import type { JSX } from 'preact';
import type { Log } from '../api/model';
import { full } from '../lib/format';
import { clockMillis } from '../lib/instant';
import { plain, plainLine } from '../lib/plain';

export type LogRecord = Log & { [field: string]: unknown };

const SHOWN = new Set(['timestamp', 'severity_text', 'severity_number', 'body']);

export function level(log: LogRecord): string {
  return log.severity_text.toLowerCase();
}

/** What tells lines apart: they have no id of their own. */
export function logKey(log: LogRecord): string {
  return `${log.timestamp} ${log.span_id ?? ''} ${log.stream ?? ''} ${log.body}`;
}

const STREAMS: Record<string, string> = { stdout: 'print', stderr: 'stderr', sdk: 'ctx.log', host: 'host' };

export function StreamMark({ stream }: { stream: string | undefined }): JSX.Element | null {
  if (!stream) return null;
  return (
    <span class={`stream ${stream}`} title={stream === 'host' ? 'from the runner' : stream === 'sdk' ? "the plugin's ctx.log" : `the plugin's ${stream}`}>
      {STREAMS[stream] ?? plainLine(stream)}
    </span>
  );
}

/** One row of a list of lines. */
export function LogRow({ log, index, selected, narrow, onClick, plugin = true, anchored = false }: { log: LogRecord; index: number; selected: boolean; narrow: boolean; onClick: () => void; plugin?: boolean; anchored?: boolean }): JSX.Element {
  return (
    <div role="row" aria-rowindex={index + 1} aria-selected={selected} class={`log-row ${level(log)} ${selected ? 'selected' : ''} ${anchored ? 'anchored' : ''} ${narrow ? 'narrow' : ''}`} onClick={onClick}>
      <span role="cell" class="log-time" title={full(log.timestamp)}>
        {clockMillis(log.timestamp)}
      </span>
      <span role="cell" class="log-level">
        {log.severity_text.slice(0, 5)}
      </span>
      <span role="cell" class="log-stream">
        <StreamMark stream={log.stream} />
      </span>
      {plugin && (
        <span role="cell" class="log-plugin">
          {log['plugin.name'] ?? ''}
        </span>
      )}
      <span role="cell" class="log-body">
        {plainLine(log.body.slice(0, 2000))}
      </span>
    </div>
  );
}

/** Everything that a line holds. */
export function LogFields({ log }: { log: LogRecord }): JSX.Element {
  const fields = Object.entries(log).filter(([key]) => !SHOWN.has(key));
  return (
    <>
      <pre class="log-text">{plain(log.body)}</pre>
      <table class="fields">
        <tbody>
          <tr>
            <th scope="row">timestamp</th>
            <td>{log.timestamp}</td>
          </tr>
          <tr>
            <th scope="row">severity_text</th>
            <td>{log.severity_text}</td>
          </tr>
          {fields.map(([key, value]) => (
            <tr key={key}>
              <th scope="row">{plainLine(key)}</th>
              <td>
                <FieldValue name={key} value={value} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

const LINKS: Record<string, (value: string) => string> = {
  invocation_id: (value) => `/invocations/${encodeURIComponent(value)}`,
  trace_id: (value) => `/traces/${encodeURIComponent(value)}`,
  'plugin.name': (value) => `/plugins/${encodeURIComponent(value)}`,
  'spanglass.invocation.id': (value) => `/invocations/${encodeURIComponent(value)}`,
  'spanglass.callee.invocation.id': (value) => `/invocations/${encodeURIComponent(value)}`,
  'spanglass.plugin.name': (value) => `/plugins/${encodeURIComponent(value)}`,
  'spanglass.callee.plugin.name': (value) => `/plugins/${encodeURIComponent(value)}`,
};

/** A value of an attribute or field, as text; ids of what this page can show are links. */
export function FieldValue({ name, value }: { name: string; value: unknown }): JSX.Element {
  const text = typeof value === 'string' ? plain(value) : JSON.stringify(value);
  const link = typeof value === 'string' ? LINKS[name]?.(value) : undefined;
  return link ? <a href={link}>{text}</a> : <span class="value">{text}</span>;
}
