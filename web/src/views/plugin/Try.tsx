// A call from the page: the schema as a form, the reply with the way to its trace.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { asApiError, authorization, get, post, type ApiError } from '../../api/client';
import type { Plugin, Success, Version } from '../../api/model';
import { useData } from '../../lib/data';
import { duration, plural } from '../../lib/format';
import { plain } from '../../lib/plain';
import { addressOf, currentQuery, setQuery } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { CopyButton } from '../../parts/CopyButton';
import { Json } from '../../parts/Code';
import { ErrorBox } from '../../parts/ErrorBox';
import { Tabs } from '../../parts/Tabs';
import { Text } from '../../parts/Text';
import { curlOf } from './curl';
import { JsonInput, ObjectFields } from './Fields';
import { initial, validate, type Schema, type Wrong } from './schema';

interface Example {
  name: string;
  action?: string;
  input: unknown;
}

export function Try({ plugin, versions }: { plugin: Plugin; versions: Version[] }) {
  const { version: asked } = currentQuery.value;
  const wanted = (versions.find((one) => one.version === (asked ?? plugin.version)) ?? versions[0])?.version ?? null;
  const path = { name: plugin.name, version: wanted ?? '' };
  // What was typed stays while another version is looked at: so one input can be tried on both.
  const version = useData(`${plugin.name} ${wanted}`, async (signal) => (wanted ? await get('/v1/plugins/{name}/versions/{version}', { path, signal }) : null), { keep: true });
  if (wanted === null) return <p class="muted">There is no version to call.</p>;
  if (version.data) return <TryVersion plugin={plugin} versions={versions} version={version.data} />;
  if (version.error) return <ErrorBox error={version.error} retry={version.reload} title={`Version ${wanted} could not be shown`} />;
  return <div class="waiting" aria-busy="true" />;
}

function TryVersion({ plugin, versions, version }: { plugin: Plugin; versions: Version[]; version: Version }) {
  const schema = (version.input_schema ?? {}) as Schema;
  const examples = ((version.examples ?? []) as Example[]).filter((one) => one.input !== undefined);
  const actions = version.actions ?? ['invoke'];
  const start = () => (examples[0] ? examples[0].input : initial(schema, schema)) ?? {};

  const value = useSignal<unknown>(start());
  const action = useSignal(examples[0]?.action ?? 'invoke');
  const chosen = useSignal(examples[0]?.name ?? '');
  const hasFields = Object.keys(schema.properties ?? {}).length > 0;
  const form = useSignal(hasFields ? 'form' : 'json');
  const broken = useSignal<string | null>(null);
  const touched = useSignal(false);
  const fromServer = useSignal<Wrong[]>([]);
  const result = useSignal<{ reply: Success } | { error: ApiError } | null>(null);
  const busy = useSignal<AbortController | null>(null);
  const reply = useRef<HTMLElement>(null);
  useEffect(() => () => busy.peek()?.abort(), []);

  const found = useMemo(() => validate(schema, value.value, schema), [value.value, schema]);
  // Before somebody has tried, an empty form is not a list of mistakes.
  const wrong = touched.value ? [...found, ...fromServer.value.filter((one) => !found.some((other) => other.pointer === one.pointer))] : [];
  const body = () => ({
    input: value.value,
    ...(action.value !== 'invoke' ? { action: action.value } : {}),
    ...(version.version !== plugin.version ? { version: version.version } : {}),
  });
  const change = (next: unknown) => {
    value.value = next ?? {};
    fromServer.value = [];
  };
  const call = async () => {
    touched.value = true;
    if (broken.value) return;
    const controller = new AbortController();
    busy.value = controller;
    fromServer.value = [];
    try {
      result.value = { reply: await post<Success>('/v1/plugins/{name}/invoke', body(), { path: { name: plugin.name }, signal: controller.signal }) };
    } catch (failure) {
      if (controller.signal.aborted) {
        busy.value = null;
        return;
      }
      const error = asApiError(failure);
      fromServer.value = error.fields;
      result.value = { error };
    }
    busy.value = null;
    reply.current?.scrollIntoView({ block: 'nearest' });
  };

  return (
    <div class="try">
      <section class="card" aria-label="Input">
        <div class="try-bar">
          {examples.length > 0 && (
            <label>
              Example
              <select
                value={chosen.value}
                onChange={(event) => {
                  chosen.value = event.currentTarget.value;
                  const example = examples.find((one) => one.name === chosen.value);
                  action.value = example?.action ?? action.value;
                  change(example ? example.input : initial(schema, schema));
                  touched.value = Boolean(example);
                }}
              >
                <option value="">empty</option>
                {examples.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}
              </select>
            </label>
          )}
          {versions.length > 1 && (
            <label>
              Version
              <select value={version.version} onChange={(event) => setQuery({ version: event.currentTarget.value === plugin.version ? null : event.currentTarget.value })}>
                {versions.map((one) => <option key={one.version} value={one.version}>{one.version}{one.version === plugin.version ? ' (gets the calls)' : ''}</option>)}
              </select>
            </label>
          )}
          {actions.length > 1 && (
            <label>
              Action
              <select value={action.value} onChange={(event) => (action.value = event.currentTarget.value)}>{actions.map((one) => <option key={one} value={one}>{one}</option>)}</select>
            </label>
          )}
        </div>
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            void call();
          }}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void call();
          }}
        >
          <Tabs label="How to write the input" chosen={form.value} onChoose={(id) => (form.value = id)} tabs={[{ id: 'form', label: 'Form' }, { id: 'json', label: 'JSON' }]}>
            {form.value === 'json' ? (
              <div class="field">
                <JsonInput
                  common={{ 'aria-label': 'Input as JSON' }} rows={12} value={value.value} onChange={change}
                  onBroken={(message) => (broken.value = message)}
                />
                {wrong.map((one) => <span key={one.pointer + one.message} class="field-wrong"><span aria-hidden="true">✕ </span><code>{one.pointer || '/'}</code> <Text of={one.message} /></span>)}
              </div>
            ) : hasFields ? (
              <>
                <ObjectFields schema={schema} root={schema} pointer="" value={value.value} onChange={change} wrong={wrong} />
                {wrong.filter((one) => one.pointer === '').map((one) => <p key={one.message} class="field-wrong">✕ <Text of={one.message} /></p>)}
              </>
            ) : (
              <p class="muted">The manifest names no fields: any JSON object may be sent. Write it as JSON.</p>
            )}
          </Tabs>
          {touched.value && found.length > 0 && <p class="field-wrong">{plural(found.length, 'mistake')} by the schema. It can be sent: the server will say so too.</p>}
          <div class="try-actions">
            <button class="button button-main" disabled={busy.value !== null || broken.value !== null} title="Ctrl+Enter">{busy.value ? 'Running…' : 'Invoke'}</button>
            {busy.value && <button type="button" class="button" onClick={() => busy.value?.abort()}>Give up</button>}
            <CopyButton label="Copy as curl" text={() => curlOf(location.origin, plugin.name, body(), 'authorization' in authorization())} />
          </div>
        </form>
      </section>
      <section class="card" aria-label="Reply" aria-live="polite" ref={reply}>
        <h2>Reply</h2>
        {result.value === null ? <p class="muted">Nothing has been called yet.</p> : 'reply' in result.value ? <Reply reply={result.value.reply} /> : <Failure error={result.value.error} />}
      </section>
    </div>
  );
}

function Reply({ reply: { data, meta } }: { reply: Success }) {
  return (
    <>
      <p class="reply-line">
        <Badge word="replied" />
        <span>{duration(meta.duration_ms)}</span>
        <span class="muted">{[`${meta.plugin} ${meta.version ?? ''}`, meta.queue_ms >= 0.05 && `waited ${duration(meta.queue_ms)}`, meta.cold_start && 'cold start', meta.attempts > 1 && plural(meta.attempts, 'attempt')].filter(Boolean).join(' · ')}</span>
        <a class="strong" href={addressOf.invocation(meta.invocation_id)}>Trace and logs of this call →</a>
      </p>
      <Json value={data} />
    </>
  );
}

function Failure({ error }: { error: ApiError }) {
  return (
    <div class="stack">
      <ErrorBox error={error} title="The call failed" />
      {error.fields.length > 0 && <ul>{error.fields.map((one) => <li key={one.pointer + one.message}><code>{one.pointer || '/'}</code> <Text of={one.message} /></li>)}</ul>}
      {error.exception && <pre class="code" tabIndex={0}>{plain(error.exception.traceback ?? '')}</pre>}
      {error.invocationId && <p><a class="strong" href={addressOf.invocation(error.invocationId)}>Trace and logs of this call →</a></p>}
    </div>
  );
}
