// `/invocations/{id}`: one call; `/traces/{trace_id}`: a whole trace, shown in the same way.

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, asApiError, authorization, get, isAbort, post, request } from '../../api/client';
import type { Invocation, Trace } from '../../api/model';
import { now } from '../../lib/clock';
import { useEvents, useStream } from '../../lib/data';
import { duration, plural } from '../../lib/format';
import { useShortcuts } from '../../lib/keys';
import { neighbours, rememberedList } from '../../lib/neighbours';
import { shiftInstant } from '../../lib/instant';
import { plainLine } from '../../lib/plain';
import { addressOf, currentQuery, navigate, setQuery } from '../../lib/router';
import { curl } from '../../lib/shell';
import { OutcomeBadge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { ErrorBox } from '../../parts/ErrorBox';
import { download } from '../../parts/JsonView';
import type { LogRecord } from '../../parts/LogLines';
import { Tabs } from '../../parts/Tabs';
import { Time } from '../../parts/Time';
import { Facts, Failure } from './Facts';
import { loadTrace, useCall } from './load';
import { partOf, type Part } from './parttrace';
import { Payload } from './Payload';
import { ReplayView } from './Replay';
import { TraceLogs } from './TraceLogs';
import { buildTree, type Tree } from './tree';
import { UsageView } from './UsageView';
import { Waterfall } from './Waterfall';
import './style.css';

export default function InvocationView({ params }: { params: Record<string, string> }): JSX.Element {
  const id = params.id ?? '';
  const { call, error } = useCall(id);
  const ended = call?.state === 'done';
  const { trace, problem } = useTrace(ended ? call.trace_id : null);
  const live = useLiveLogs(call && !ended ? call : null);
  const part = useMemo(() => (trace && call ? partOf(trace, call.root_span_id) : null), [trace, call]);
  const tree = useMemo(() => (part ? buildTree(part.spans) : null), [part]);
  const beside = useNeighbours(call);
  if (error && !call) return <NotThere error={error} what="This call" id={id} />;
  if (!call) return <div class="waiting" aria-busy="true" />;
  const elapsed = ended ? null : Math.max(0, now.value - Date.parse(call.created_at));
  const showSpan = (span: string) => setQuery({ tab: null, span });
  return (
    <article class="invocation">
      <header class="view-head">
        <h1>
          <a href={addressOf.plugin(call.plugin)}>{call.plugin}</a>
          {call.version && <span class="at">@{call.version}</span>} {call.action !== 'invoke' && <span class="action">{plainLine(call.action)}</span>}
        </h1>
        <OutcomeBadge outcome={call.outcome} state={call.state} kind={call.error?.kind ?? null} />
        <Actions call={call} ended={ended} beside={beside} />
      </header>
      <Facts call={call} elapsed={elapsed} />
      {part?.caller && (
        <p class="notice">
          Called by <a href={addressOf.invocation(part.caller.invocation)}>{part.caller.plugin}</a>. <a href={addressOf.trace(call.trace_id)}>The whole trace</a> has {plural(part.more, 'more span')}.
        </p>
      )}
      <Failure call={call} tree={tree} onSpan={showSpan} />
      <Parts call={call} tree={tree} part={part} trace={call.trace_id} running={!ended} problem={problem} lines={live} onSpan={showSpan} />
    </article>
  );
}

export function TraceView({ params }: { params: Record<string, string> }): JSX.Element {
  const id = params.trace_id ?? '';
  const { trace, problem } = useTrace(id);
  const part = useMemo<Part | null>(() => (trace ? partOf(trace, undefined) : null), [trace]);
  const tree = useMemo(() => (part ? buildTree(part.spans) : null), [part]);
  if (problem) return <NotThere error={problem} what="This trace" id={id} />;
  if (!tree || !part) return <div class="waiting" aria-busy="true" />;
  const calls = tree.nodes.filter((node) => node.role === 'invocation');
  const root = tree.nodes[tree.roots[0] ?? -1];
  return (
    <article class="invocation">
      <header class="view-head">
        <h1>
          Trace <span class="mono">{id.slice(0, 16)}</span>
        </h1>
        <CopyButton text={id} title="Copy the trace's id" />
        <span class="head-actions">
          <Export trace={id} />
        </span>
      </header>
      <dl class="call-facts card">
        <div>
          <dt>Root</dt>
          <dd>{root ? plainLine(root.span.name) : '–'}</dd>
        </div>
        <div>
          <dt>When</dt>
          <dd>{root ? <Time at={root.span.start} /> : '–'}</dd>
        </div>
        <div>
          <dt>Duration</dt>
          <dd>
            <b>{duration(tree.duration)}</b>
          </dd>
        </div>
        <div>
          <dt>Spans</dt>
          <dd>{tree.nodes.length}</dd>
        </div>
        <div>
          <dt>Log lines</dt>
          <dd>{part.logs.length}</dd>
        </div>
        <div class="wide">
          <dt>{plural(calls.length, 'invocation')}</dt>
          <dd>
            {calls.slice(0, 12).map((node) => (
              <a key={node.index} href={addressOf.invocation(node.invocation)} class={node.failed ? 'bad' : ''}>
                {node.plugin}
              </a>
            ))}
            {calls.length > 12 && <span class="muted"> and {calls.length - 12} more</span>}
          </dd>
        </div>
      </dl>
      <Parts call={null} tree={tree} part={part} trace={id} running={false} problem={null} lines={[]} onSpan={(span) => setQuery({ tab: null, span })} />
    </article>
  );
}

interface PartsProps {
  call: Invocation | null;
  tree: Tree | null;
  part: Part | null;
  trace: string;
  running: boolean;
  problem: ApiError | null;
  lines: LogRecord[];
  onSpan: (id: string) => void;
}

function Parts({ call, tree, part, trace, running, problem, lines, onSpan }: PartsProps): JSX.Element {
  const logs = part?.logs ?? lines;
  const tabs = [
    { id: 'trace', label: 'Trace' },
    { id: 'logs', label: `Logs${logs.length > 0 ? ` ${logs.length}` : ''}` },
    ...(call ? [{ id: 'io', label: 'Input and output' }] : []),
    { id: 'usage', label: 'Usage' },
    ...(call && !running ? [{ id: 'replay', label: 'Replay' }] : []),
  ];
  const wanted = currentQuery.value.tab ?? 'trace';
  const chosen = tabs.some((tab) => tab.id === wanted) ? wanted : 'trace';
  useShortcuts(
    ['trace', 'logs', 'io', 'usage', 'replay'].map((id, index) => ({ keys: String(index + 1), what: `tab ${id === 'io' ? 'input and output' : id}`, group: 'Invocation', run: () => tabs.some((tab) => tab.id === id) && setQuery({ tab: id === 'trace' ? null : id }) })),
  );
  const body: Record<string, () => ComponentChildren> = {
    trace: () => <TracePart tree={tree} logs={logs} running={running} problem={problem} />,
    logs: () => <TraceLogs logs={logs} begin={tree?.begin ?? call?.created_at ?? ''} trace={trace} onSpan={onSpan} running={running} />,
    io: () => call && <Payload call={call} />,
    usage: () => <UsageView call={call} tree={tree} />,
    replay: () => call && <ReplayView call={call} tree={tree} />,
  };
  return (
    <Tabs label="Parts of the call" tabs={tabs} chosen={chosen} onChoose={(id) => setQuery({ tab: id === 'trace' ? null : id })}>
      {body[chosen]?.()}
    </Tabs>
  );
}

function TracePart({ tree, logs, running, problem }: { tree: Tree | null; logs: LogRecord[]; running: boolean; problem: ApiError | null }): JSX.Element {
  if (problem) return <ErrorBox error={problem} title="The trace cannot be shown" />;
  if (tree) return <Waterfall tree={tree} logs={logs} />;
  if (!running) return <div class="waiting-part" aria-busy="true" />;
  return (
    <div class="empty">
      <p class="empty-title">The call is under way</p>
      <p class="muted">Its spans come when it ends. {logs.length > 0 && `${plural(logs.length, 'log line')} so far.`}</p>
    </div>
  );
}

/** What can be done with the call. */
function Actions({ call, ended, beside: { newer, older } }: { call: Invocation; ended: boolean; beside: Neighbours }): JSX.Element {
  const [cancelled, setCancelled] = useState(false);
  const list = rememberedList();
  const command = () =>
    curl({
      method: 'POST',
      url: `${location.origin}/v1/plugins/${encodeURIComponent(call.plugin)}/invoke`,
      headers: [['content-type', 'application/json']],
      body: JSON.stringify({ input: call.input, ...(call.action !== 'invoke' ? { action: call.action } : {}), ...(call.version ? { version: call.version } : {}) }),
      token: 'authorization' in authorization(),
    });
  return (
    <span class="head-actions">
      {ended ? (
        <button type="button" class="button button-small" onClick={() => setQuery({ tab: 'replay' })}>
          Replay…
        </button>
      ) : (
        <button
          type="button"
          class="button button-small button-bad"
          disabled={cancelled}
          onClick={() => {
            setCancelled(true);
            post('/v1/invocations/{id}/cancel', undefined, { path: { id: call.invocation_id } }).catch(() => setCancelled(false));
          }}
        >
          Cancel
        </button>
      )}
      {!call.input_truncated && call.input !== undefined && <CopyButton text={command} label="Copy as curl" title={call.input_redacted ? 'Redacted values are not what the plugin got' : 'The same call as a command'} />}
      {ended && <Export trace={call.trace_id} />}
      <a class={`button button-small ${newer ? '' : 'off'}`} href={newer ? addressOf.invocation(newer) : undefined} aria-disabled={!newer} title="Newer call (p)" aria-label="Newer call">
        ↑
      </a>
      <a class={`button button-small ${older ? '' : 'off'}`} href={older ? addressOf.invocation(older) : undefined} aria-disabled={!older} title="Older call (n)" aria-label="Older call">
        ↓
      </a>
      {list && (
        <a class="button button-small" href={list.address}>
          Back to the list
        </a>
      )}
    </span>
  );
}

function Export({ trace }: { trace: string }): JSX.Element {
  const [said, say] = useState('');
  const run = async () => {
    say('…');
    try {
      const { body } = await request('GET', '/v1/traces/{trace_id}/otlp', { path: { trace_id: trace } });
      download(JSON.stringify(body), `trace-${trace}.otlp.json`, 'application/json');
      say('');
    } catch (error) {
      say(asApiError(error).detail);
    }
  };
  return (
    <button type="button" class="button button-small" title={said || 'Download what a collector takes at /v1/traces'} onClick={() => void run()}>
      {said.length > 1 ? 'Export failed' : 'Export OTLP'}
    </button>
  );
}

function NotThere({ error, what, id }: { error: ApiError; what: string; id: string }): JSX.Element {
  if (error.status !== 404) {
    return (
      <>
        <h1 class="empty-title">{what} cannot be shown</h1>
        <ErrorBox error={error} title="The server says why" />
        <p>
          <a href="/invocations">All invocations</a>
        </p>
      </>
    );
  }
  return (
    <div class="empty">
      <h1 class="empty-title">{what} is not kept</h1>
      <p class="mono">{plainLine(id.slice(0, 80))}</p>
      <p class="muted">It never was, it was deleted by age or size, or of its time only a sample is kept.</p>
      <p>
        <a href="/invocations">All invocations</a>
      </p>
    </div>
  );
}

/** The trace of a call that has ended. */
function useTrace(id: string | null): { trace: Trace | null; problem: ApiError | null } {
  const [state, set] = useState<{ trace: Trace | null; problem: ApiError | null }>({ trace: null, problem: null });
  useEffect(() => {
    if (id === null) return;
    const abort = new AbortController();
    loadTrace(id, abort.signal)
      .then((trace) => set({ trace, problem: trace ? null : new ApiError(404, { detail: 'no span of it is kept', kind: 'not_found' }) }))
      .catch((error: unknown) => !isAbort(error) && set({ trace: null, problem: asApiError(error) }));
    return () => abort.abort();
  }, [id]);
  return state;
}

interface Neighbours {
  newer: string | null;
  older: string | null;
}
const NONE: Neighbours = { newer: null, older: null };

const LIVE_LINES_MAX = 2000;

/** Lines of a call that runs: those that are there, and those that come. */
function useLiveLogs(call: Invocation | null): LogRecord[] {
  const [lines, set] = useState<LogRecord[]>([]);
  const trace = call?.trace_id;
  const waiting = useRef<LogRecord[]>([]);
  const frame = useRef(0);
  const add = (more: LogRecord[]) => {
    waiting.current.push(...more);
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      const fresh = waiting.current;
      waiting.current = [];
      set((before) => {
        const known = new Set(before.map((line) => `${line.timestamp} ${line.body}`));
        return [...before, ...fresh.filter((line) => !known.has(`${line.timestamp} ${line.body}`))].slice(-LIVE_LINES_MAX);
      });
    });
  };
  useStream(trace ? { topics: ['logs', 'invocations'], trace } : {});
  useEvents({ log: (line) => line.trace_id === trace && trace && add([line as LogRecord]) });
  useEffect(() => {
    if (!trace) return;
    const abort = new AbortController();
    get('/v1/logs', { query: { trace, limit: 1000 }, signal: abort.signal })
      .then(({ items }) => add(items as LogRecord[]))
      .catch(() => undefined);
    return () => abort.abort();
  }, [trace]);
  return lines;
}

/** The calls before and after it: of the list that somebody came from, else of its plugin. */
function useNeighbours(call: Invocation | null): Neighbours {
  const [found, set] = useState<Neighbours>(NONE);
  const id = call?.invocation_id;
  useEffect(() => {
    if (!call) return;
    const ofList = neighbours(rememberedList()?.ids ?? [], call.invocation_id);
    set(ofList);
    if (ofList.newer || ofList.older) return;
    const abort = new AbortController();
    const ids = async (query: Record<string, string | number>) => (await get('/v1/invocations', { query: { plugin: call.plugin, ...query }, signal: abort.signal })).items.map((one) => one.invocation_id);
    Promise.all([ids({ since: call.created_at, limit: 1000 }), ids({ until: shiftInstant(call.created_at, 1), limit: 3 })])
      .then(([later, earlier]) => set({ newer: neighbours(later, call.invocation_id).newer, older: neighbours(earlier, call.invocation_id).older }))
      .catch(() => undefined);
    return () => abort.abort();
  }, [id]);
  const go = (way: 'newer' | 'older') => {
    const id = found[way];
    if (!id) return false;
    navigate(addressOf.invocation(id));
    return true;
  };
  useShortcuts([
    { keys: 'n', what: 'older call of the list', group: 'Invocation', run: () => go('older') },
    { keys: 'p', what: 'newer call of the list', group: 'Invocation', run: () => go('newer') },
    { keys: 'r', what: 'replay', group: 'Invocation', run: () => setQuery({ tab: 'replay' }) },
  ]);
  return found;
}
