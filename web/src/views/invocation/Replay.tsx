// Runs the kept input again, on this or another version, and shows both calls side by side.

import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { ApiError, asApiError, get, isAbort, post } from '../../api/client';
import type { Invocation, Replay, ReplaySide } from '../../api/model';
import { duration, plural } from '../../lib/format';
import { plain, plainLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Badge, OutcomeBadge } from '../../parts/Badge';
import { Dialog } from '../../parts/Dialog';
import { ErrorBox } from '../../parts/ErrorBox';
import { JsonView } from '../../parts/JsonView';
import { alignSteps, changeRows, steps, type Change, type StepRow } from './comparison';
import { loadTrace } from './load';
import { buildTree, type SpanData, type Tree } from './tree';

/** Replays made since the page was loaded, by the call that was replayed: they survive a look elsewhere. */
const made = new Map<string, Made[]>();

type Made = Replay & { data?: unknown };

export function ReplayView({ call, tree }: { call: Invocation; tree: Tree | null }): JSX.Element {
  const [versions, setVersions] = useState<string[]>([]);
  const [current, setCurrent] = useState<string | null>(null);
  const [on, setOn] = useState('');
  const [running, setRunning] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [results, setResults] = useState<Made[]>(made.get(call.invocation_id) ?? []);
  useEffect(() => {
    const abort = new AbortController();
    get('/v1/plugins/{name}', { path: { name: call.plugin }, signal: abort.signal })
      .then((plugin) => {
        setVersions(plugin.versions);
        setCurrent(plugin.version);
        // What one mostly wants to know of a failure: does another version do it?
        setOn((before) => before || (call.outcome !== 'replied' ? (plugin.versions.find((version) => version !== call.version) ?? '') : ''));
      })
      .catch((reason: unknown) => !isAbort(reason) && setVersions([]));
    return () => abort.abort();
  }, [call.plugin]);

  const run = async () => {
    setRunning(true);
    setError(null);
    let replay: Made | undefined;
    try {
      const answer = await post<{ replay: Replay; data: unknown }>('/v1/invocations/{id}/replay', on ? { on } : {}, { path: { id: call.invocation_id } });
      replay = { ...answer.replay, data: answer.data };
    } catch (reason) {
      const failed = asApiError(reason);
      // A replay that was run and failed is a result too.
      replay = (failed.problem as { replay?: Replay }).replay;
      if (!replay) setError(failed);
    }
    setRunning(false);
    if (!replay) return;
    const next = [replay, ...(made.get(call.invocation_id) ?? [])].slice(0, 10);
    made.set(call.invocation_id, next);
    setResults(next);
  };

  const why = call.replayable === false ? (call.input_truncated ? 'its input was cut when it was kept' : call.input_redacted ? 'fields of its input were redacted when it was kept' : 'its input is not kept') : null;
  return (
    <div class="replay">
      {why ? (
        <p class="notice">
          This call cannot be replayed: {why}. What the plugin would get is not what it got then.
        </p>
      ) : (
        <form
          class="row card"
          onSubmit={(event) => {
            event.preventDefault();
            void run();
          }}
        >
          <label>
            Replay on{' '}
            <select value={on} onChange={(event) => setOn(event.currentTarget.value)}>
              <option value="">the same version{call.version ? ` (${call.version})` : ''}</option>
              {versions
                .filter((version) => version !== call.version)
                .map((version) => (
                  <option key={version} value={version}>
                    {version}
                    {version === current ? ' (gets the calls now)' : ''}
                  </option>
                ))}
            </select>
          </label>
          <button class="button button-main" disabled={running}>
            {running ? 'Running…' : 'Replay'}
          </button>
          <span class="muted">The plugin really runs, with all that it does.</span>
        </form>
      )}
      {error && <ErrorBox error={error} title={error.status === 409 ? 'This call cannot be replayed' : 'The replay did not run'} />}
      {results.map((replay) => (
        <Result key={replay.replayed.invocation_id} replay={replay} call={call} tree={tree} versions={versions} current={current} />
      ))}
      {results.length === 0 && !why && <p class="muted replay-hint">The result stands here: outcome, differences of the outputs, and time by step, side by side.</p>}
    </div>
  );
}

function Result({ replay, call, tree, versions, current }: { replay: Made; call: Invocation; tree: Tree | null; versions: string[]; current: string | null }): JSX.Element {
  const { original, replayed } = replay;
  const works = original.outcome !== 'replied' && replayed.outcome === 'replied' && replayed.version !== original.version;
  // Newest first: a version that stands further down is older.
  const earlier = works && replayed.version !== null && original.version !== null && versions.indexOf(replayed.version) > versions.indexOf(original.version);
  return (
    <article class="replay-result card" aria-label={`Replay on ${replayed.version}`}>
      <div class="replay-sides">
        <SideBox title="Original" side={original} />
        <span class="arrow" aria-hidden="true">
          →
        </span>
        <SideBox title="Replay" side={replayed} against={original} />
      </div>
      {works && (
        <p class="notice good">
          {replayed.version} answers what {original.version} failed on. {earlier && replayed.version && current !== replayed.version && <Rollback plugin={call.plugin} to={replayed.version} from={original.version ?? ''} reason={`replay ${replayed.invocation_id}`} />}
        </p>
      )}
      <Changes output={replay.output} />
      {replay.output.equal === null && replay.data !== undefined && (
        <section>
          <h4>Output of the replay</h4>
          <JsonView value={replay.data} label="output of the replay" rowsMax={12} />
        </section>
      )}
      <StepTimes call={call} tree={tree} replayed={replayed} />
    </article>
  );
}

function SideBox({ title, side, against }: { title: string; side: ReplaySide; against?: ReplaySide }): JSX.Element {
  const delta = against ? side.duration_ms - against.duration_ms : 0;
  return (
    <section aria-label={title}>
      <h3>
        {title} <span class="muted">{side.version}</span>
      </h3>
      <p>
        <OutcomeBadge outcome={side.outcome} kind={side.error?.kind ?? null} /> <b>{duration(side.duration_ms)}</b>{' '}
        {against && <span class={`delta ${delta > 0 ? 'slower' : 'faster'}`}>{delta > 0 ? '+' : '−'}{duration(Math.abs(delta))}</span>} {side.attempts > 1 && <Badge word={`×${side.attempts}`} tone="warn" />}
      </p>
      {side.error?.message && <p class="replay-error">{plain(side.error.message)}</p>}
      <p>
        <a href={addressOf.invocation(side.invocation_id)}>{side.invocation_id.slice(-12)}</a>
      </p>
    </section>
  );
}

function Changes({ output }: { output: Replay['output'] }): JSX.Element {
  if (output.equal === true) return <p class="replay-equal good">The outputs are equal.</p>;
  if (output.equal === null) return <p class="muted">{output.reason ? plainLine(output.reason) : 'There are no two outputs to compare.'}</p>;
  const rows = changeRows(output.changes as Change[]);
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label="Table">
      <table class="table changes">
        <caption>{plural(rows.length + output.more, 'difference')} of the outputs</caption>
        <thead>
          <tr>
            <th>Where</th>
            <th>Original</th>
            <th>Replay</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index} class={row.op}>
              <td class="mono">
                <span class="change-op" title={row.op}>
                  {row.op === 'added' ? '+' : row.op === 'removed' ? '−' : '~'}
                </span>{' '}
                {plainLine(row.pointer)}
              </td>
              <td class="mono old">{row.old === null ? <span class="muted">–</span> : plainLine(row.old)}</td>
              <td class="mono new">{row.new === null ? <span class="muted">–</span> : plainLine(row.new)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {output.more > 0 && <p class="muted">and {output.more} more</p>}
    </div>
  );
}

/** Time by step of both calls; the trace of the new one comes a moment after its reply. */
function StepTimes({ call, tree, replayed }: { call: Invocation; tree: Tree | null; replayed: ReplaySide }): JSX.Element | null {
  const [after, setAfter] = useState<{ tree: Tree; root: string } | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    loadTrace(replayed.trace_id, abort.signal)
      .then((trace) => {
        const spans = (trace?.spans ?? []) as SpanData[];
        const root = spans.find((span) => span.attributes['spanglass.invocation.id'] === replayed.invocation_id && span.name.startsWith('invoke '));
        if (root) setAfter({ tree: buildTree(spans), root: root.span_id });
      })
      .catch(() => undefined);
    return () => abort.abort();
  }, [replayed.trace_id]);
  const rows = useMemo(() => (tree && after && call.root_span_id ? alignSteps(steps(tree, call.root_span_id), steps(after.tree, after.root)) : null), [tree, after]);
  if (!rows) return null;
  const most = rows.reduce((found, row) => Math.max(found, row.before?.ms ?? 0, row.after?.ms ?? 0), 0.000001);
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label="Table">
      <table class="table steps">
        <caption>Time by step</caption>
        <thead>
          <tr>
            <th>Step</th>
            <th class="number">Original</th>
            <th class="number">Replay</th>
            <th aria-hidden="true" />
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <StepLine key={row.path.join('\u0000')} row={row} most={most} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function StepLine({ row, most }: { row: StepRow; most: number }): JSX.Element {
  const text = (step: StepRow['before']) => (step ? `${duration(step.ms)}${step.count > 1 ? ` (${step.count}×)` : ''}` : '–');
  return (
    <tr>
      <td style={{ paddingLeft: `${10 + (row.path.length - 1) * 14}px` }}>{plainLine(row.path[row.path.length - 1] ?? '')}</td>
      <td class="number">{text(row.before)}</td>
      <td class="number">{text(row.after)}</td>
      <td class="twin" aria-hidden="true">
        <i class="before" style={{ width: `${((row.before?.ms ?? 0) / most) * 100}%` }} />
        <i class="after" style={{ width: `${((row.after?.ms ?? 0) / most) * 100}%` }} />
      </td>
    </tr>
  );
}

/** Gives the calls back to the version that works, after a question. */
function Rollback({ plugin, to, from, reason }: { plugin: string; to: string; from: string; reason: string }): JSX.Element {
  const [asking, ask] = useState(false);
  const [state, set] = useState<'idle' | 'running' | 'done'>('idle');
  const [error, setError] = useState<ApiError | null>(null);
  const run = async () => {
    set('running');
    setError(null);
    try {
      await post('/v1/plugins/{name}/rollback', undefined, { path: { name: plugin }, query: { to, by: 'page', reason } });
      set('done');
      ask(false);
    } catch (reason) {
      set('idle');
      setError(asApiError(reason));
    }
  };
  if (state === 'done') {
    return (
      <span>
        Rolled back: calls go to {to} now. <a href={addressOf.plugin(plugin)}>See the plugin</a>
      </span>
    );
  }
  return (
    <>
      <button type="button" class="button button-small" onClick={() => ask(true)}>
        Roll back to {to}
      </button>{' '}
      <a href={addressOf.plugin(plugin)}>Versions of {plugin}</a>
      {asking && (
        <Dialog title={`Roll ${plugin} back to ${to}?`} onClose={() => ask(false)}>
          <p>
            New calls go to {to}; {from} gets only the calls that name it, until it is enabled again. Calls under way end on the version that they began with.
          </p>
          {error && <ErrorBox error={error} />}
          <p class="muted mono">spanglass plugin rollback {plugin} --to {to}</p>
          <div class="dialog-actions">
            <button type="button" class="button" onClick={() => ask(false)}>
              Leave it
            </button>
            <button type="button" class="button button-bad" disabled={state === 'running'} onClick={() => void run()}>
              Roll back
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
