import type { JSX } from 'preact';
import { duration } from '../../lib/format';
import { clockMillis, millisecondsBetween, parseInstant } from '../../lib/instant';
import { plain, plainLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { CopyButton } from '../../parts/CopyButton';
import { FieldValue, StreamMark, type LogRecord } from '../../parts/LogLines';
import type { Node, Tree } from './tree';

const ROLES: Partial<Record<Node['role'], string>> = {
  queue: 'Waiting until an instance was free.',
  prepare: 'A cold start: an instance had to be made ready first.',
  validate: 'Input or output was held against its schema.',
  call: 'A call of another plugin.',
  guest: 'A step that the plugin itself told of.',
};

interface Props {
  tree: Tree;
  node: Node;
  logs: LogRecord[];
  /** Milliseconds on the critical path. */
  onPath: number;
  onClose: () => void;
  onSelect: (id: string) => void;
}

export function SpanDetail({ tree, node, logs, onPath, onClose, onSelect }: Props): JSX.Element {
  const { span } = node;
  const parent = node.parent >= 0 ? tree.nodes[node.parent] : undefined;
  const message = typeof span.status_message === 'string' ? span.status_message : '';
  const callee = span.attributes['spanglass.callee.invocation.id'];
  return (
    <aside class="span-detail" aria-label={`Span ${span.name}`}>
      <header>
        <h3>{plainLine(span.name)}</h3>
        <button type="button" class="button button-small button-quiet" aria-label="Close the span" title="Esc" onClick={onClose}>
          ✕
        </button>
      </header>
      {ROLES[node.role] && <p class="muted">{ROLES[node.role]}</p>}
      {message && <p class="span-message">{plain(message)}</p>}
      <dl class="call-facts">
        <div>
          <dt>Duration</dt>
          <dd>{duration(node.end - node.start)}</dd>
        </div>
        <div>
          <dt>Self</dt>
          <dd>{duration(node.self)}</dd>
        </div>
        <div>
          <dt>Begins at</dt>
          <dd>+{duration(node.start)}</dd>
        </div>
        <div>
          <dt>On the critical path</dt>
          <dd>{onPath > 0 ? duration(onPath) : '–'}</dd>
        </div>
      </dl>
      {typeof callee === 'string' && (
        <p>
          <a href={addressOf.invocation(callee)}>Open the called invocation</a>
        </p>
      )}
      <h4>Attributes</h4>
      <table class="fields">
        <tbody>
          {Object.entries(span.attributes).map(([key, value]) => (
            <tr key={key}>
              <th scope="row">{plainLine(key)}</th>
              <td>
                <FieldValue name={key} value={value} />
              </td>
            </tr>
          ))}
          <tr>
            <th scope="row">kind</th>
            <td>{span.kind}</td>
          </tr>
          <tr>
            <th scope="row">span_id</th>
            <td>
              <code>{span.span_id}</code> <CopyButton text={span.span_id} title="Copy the id" />
            </td>
          </tr>
          {span.parent_span_id && (
            <tr>
              <th scope="row">parent</th>
              <td>
                {parent ? (
                  <button type="button" class="link" onClick={() => onSelect(parent.span.span_id)}>
                    {plainLine(parent.span.name)}
                  </button>
                ) : (
                  <code>{span.parent_span_id}</code>
                )}
              </td>
            </tr>
          )}
        </tbody>
      </table>
      {span.events.length > 0 && (
        <>
          <h4>Events</h4>
          <ol class="span-events">
            {span.events.map((event, index) => (
              <li key={index}>
                <span class="muted mono">{offset(tree, String(event.time ?? ''))}</span> <b>{plainLine(String(event.name ?? ''))}</b>
                <table class="fields">
                  <tbody>
                    {Object.entries((event.attributes as Record<string, unknown> | undefined) ?? {}).map(([key, value]) => (
                      <tr key={key}>
                        <th scope="row">{plainLine(key)}</th>
                        <td>
                          <FieldValue name={key} value={value} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </li>
            ))}
          </ol>
        </>
      )}
      {logs.length > 0 && (
        <>
          <h4>Log lines</h4>
          <ol class="span-logs">
            {logs.slice(0, 200).map((log, index) => (
              <li key={index} class={log.severity_text.toLowerCase()}>
                <span class="muted mono">{clockMillis(log.timestamp)}</span> <StreamMark stream={log.stream} /> {plain(log.body.slice(0, 4000))}
                {log.trace_id && (
                  <a class="to-log" href={addressOf.logs({ trace: log.trace_id, at: log.timestamp })} aria-label="This line among the logs">
                    in logs
                  </a>
                )}
              </li>
            ))}
          </ol>
          {logs.length > 200 && <p class="muted">and {logs.length - 200} more: see the tab Logs.</p>}
        </>
      )}
    </aside>
  );
}

/** A time as its distance from the beginning of the trace. */
function offset(tree: Tree, time: string): string {
  const begin = parseInstant(tree.begin);
  const at = parseInstant(time);
  return begin && at ? `+${duration(millisecondsBetween(begin, at))}` : time;
}
