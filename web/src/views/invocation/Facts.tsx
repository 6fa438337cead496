// What is to be known of a call at a glance, and why it failed.

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { request } from '../../api/client';
import type { Invocation } from '../../api/model';
import { bytes, duration } from '../../lib/format';
import { plain, plainLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { Time } from '../../parts/Time';
import type { Tree } from './tree';

function Fact({ name, children, title }: { name: string; children: ComponentChildren; title?: string }): JSX.Element {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Facts({ call, elapsed }: { call: Invocation; elapsed: number | null }): JSX.Element {
  const { usage } = call;
  return (
    <dl class="call-facts card">
      <Fact name="Duration">
        <b>{duration(elapsed ?? call.duration_ms)}</b>
      </Fact>
      <Fact name="When">
        <Time at={call.created_at} />
      </Fact>
      <Fact name="Waited" title="For a free instance: the spans named queue">
        {duration(call.queue_ms)}
      </Fact>
      <Fact name="Cold start" title="Whether an instance had to be prepared first">
        {call.cold_start === null ? '–' : call.cold_start ? <Badge word="cold" tone="info">{duration(call.prepare_ms)}</Badge> : 'no'}
      </Fact>
      <Fact name="Attempts">{(call.attempts ?? 0) > 1 ? <Badge word={String(call.attempts)} tone="warn" /> : (call.attempts ?? '–')}</Fact>
      <Fact name="CPU">{duration(usage?.cpu_ms)}</Fact>
      <Fact name="Memory peak">{usage?.memory_peak_bytes ? bytes(usage.memory_peak_bytes) : '–'}</Fact>
      <Fact name="Input">{bytes(usage?.input_bytes)}</Fact>
      <Fact name="Output">{bytes(usage?.output_bytes)}</Fact>
      <Fact name="From">{call.origin === 'local' ? 'this process' : (call.origin ?? '–')}</Fact>
      <Fact name="Trace">
        <a class="mono" href={addressOf.trace(call.trace_id)} title="The whole trace">
          {call.trace_id.slice(0, 8)}…
        </a>{' '}
        <CopyButton text={call.trace_id} title="Copy the trace's id" />
      </Fact>
      <Fact name="Id">
        <span class="mono">{call.invocation_id.slice(-12)}</span> <CopyButton text={call.invocation_id} title="Copy the invocation's id" />
      </Fact>
    </dl>
  );
}

/** The error of the call, of its earlier attempts, and what can be done. */
export function Failure({ call, tree, onSpan }: { call: Invocation; tree: Tree | null; onSpan: (id: string) => void }): JSX.Element | null {
  const { error } = call;
  const attempts = tree?.nodes.filter((node) => node.role === 'attempt' && node.failed && node.invocation === call.invocation_id) ?? [];
  if (!error && attempts.length === 0) return null;
  return (
    <section class={`failure card ${error ? '' : 'mild'}`} aria-label={error ? 'Error' : 'Failed attempts'}>
      {error && (
        <>
          <p class="failure-title">
            <Badge word={error.kind} tone="bad" />
            <span class="muted">blame: {error.blame}</span>
            <a href={addressOf.errors({ plugin: call.plugin })}>Errors of {call.plugin}</a>
          </p>
          <p class="failure-message">
            {error.exception && !error.message.startsWith(error.exception.type) && <b>{plainLine(error.exception.type)}: </b>}
            {plain(error.message)}
          </p>
          {error.exception && (
            <details open={error.exception.traceback.split('\n').length < 16}>
              <summary>Traceback</summary>
              <pre class="traceback" tabIndex={0}>{plain(error.exception.traceback)}</pre>
            </details>
          )}
          <KindHelp kind={error.kind} />
        </>
      )}
      {(attempts.length > 1 || (attempts.length > 0 && !error)) && (
        <ol class="attempts-list" aria-label="Attempts that failed">
          {attempts.map((node) => (
            <li key={node.index}>
              <button type="button" class="link" onClick={() => onSpan(node.span.span_id)}>
                attempt {String(node.span.attributes['spanglass.attempt'] ?? '')}
              </button>{' '}
              <span class="muted">{duration(node.end - node.start)}</span> {plainLine(String(node.span.status_message ?? node.span.attributes['error.type'] ?? 'failed'))}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

/** What the kind means, from the server's own page about it. */
function KindHelp({ kind }: { kind: string }): JSX.Element {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState<string | null>(null);
  useEffect(() => {
    if (!open || text !== null) return;
    const abort = new AbortController();
    request<string>('GET', '/docs/errors/{kind}', { path: { kind }, headers: { accept: 'text/markdown' }, signal: abort.signal })
      .then((answer) => setText(String(answer.body)))
      .catch(() => setText('The page about this kind cannot be loaded.'));
    return () => abort.abort();
  }, [open, kind]);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        What <code>{kind}</code> means, and what to do
      </summary>
      <div class="kind-help">
        {text === null ? 'Loading…' : <Markdown text={text} />}
        <p>
          <a href={`/docs/errors/${kind}`} target="_blank" rel="noreferrer">
            The page itself
          </a>
        </p>
      </div>
    </details>
  );
}

/** The little Markdown that the server's pages use, as elements: headings, lists, paragraphs; tables are left out. */
export function Markdown({ text }: { text: string }): JSX.Element {
  const blocks = text.split(/\n{2,}/).filter((block) => block.trim() !== '' && !block.startsWith('# ') && !block.startsWith('|'));
  return (
    <>
      {blocks.map((block, index) => {
        if (block.startsWith('## ')) return <h4 key={index}>{block.slice(3)}</h4>;
        if (block.startsWith('- ')) {
          return (
            <ul key={index}>
              {block.split(/\n(?=- )/).map((item, at) => (
                <li key={at}>{inline(item.slice(2))}</li>
              ))}
            </ul>
          );
        }
        if (block.startsWith('```')) return <pre key={index}>{block.replace(/^```\w*\n?|\n?```$/g, '')}</pre>;
        return <p key={index}>{inline(block)}</p>;
      })}
    </>
  );
}

function inline(text: string): ComponentChildren[] {
  return text
    .replace(/\s*\n\s*/g, ' ')
    .split(/(`[^`]+`)/)
    .map((piece, index) => (piece.startsWith('`') ? <code key={index}>{piece.slice(1, -1)}</code> : piece.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1').replace(/\*\*/g, '')));
}
