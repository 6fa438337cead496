// A form for one operation: parameters, body, the same as curl, and what was answered.

import type { JSX } from 'preact';
import { useEffect, useId, useMemo, useState } from 'preact/hooks';
import { authorization, get } from '../../api/client';
import { bytes, duration, plural } from '../../lib/format';
import { plain } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { curl } from '../../lib/shell';
import { Code } from '../../parts/Code';
import { Dialog } from '../../parts/Dialog';
import { JsonView } from '../../parts/JsonView';
import { address, resolve, sample, typeText, type Document, type Operation, type Parameter } from './openapi';

/** More of an answer is not read: it would have to be held in memory to be shown. */
const ANSWER_MAX = 8 * 1024 * 1024;
/** A stream is read so long at most. */
const STREAM_MS = 10_000;
/** Parameters that mean a plugin: the registered ones are offered. */
const NAMES = /^(name|plugin)$/;

interface Answered {
  status: number;
  reason: string;
  headers: [string, string][];
  text: string;
  cut: boolean;
  ms: number;
}

export function TryOut({ operation, document }: { operation: Operation; document: Document }): JSX.Element {
  const [values, setValues] = useState<Record<string, string>>({});
  const [body, setBody] = useState(() => (isJson(operation) ? JSON.stringify(sample(document, operation.body!.schema), null, 2) : ''));
  const [file, setFile] = useState<File | null>(null);
  const [asking, ask] = useState(false);
  const [running, setRunning] = useState(false);
  const [answered, setAnswered] = useState<Answered | string | null>(null);
  const [plugins, setPlugins] = useState<string[]>([]);
  const named = operation.parameters.some((parameter) => NAMES.test(parameter.name));
  useEffect(() => {
    if (!named) return;
    const abort = new AbortController();
    get('/v1/plugins', { query: { limit: 1000 }, signal: abort.signal })
      .then(({ items }) => setPlugins(items.map((plugin) => plugin.name)))
      .catch(() => undefined);
    return () => abort.abort();
  }, [named]);
  const { path, missing } = address(operation, values);
  const wrong = useMemo(() => (isJson(operation) && body.trim() !== '' ? jsonError(body) : null), [body]);
  const headers = (): [string, string][] => [
    ...operation.parameters.filter((parameter) => parameter.in === 'header' && values[`header:${parameter.name}`]).map((parameter): [string, string] => [parameter.name, values[`header:${parameter.name}`]!]),
    ...(operation.body ? [['content-type', operation.body.type] as [string, string]] : []),
  ];
  const sent = (): BodyInit | undefined => (isJson(operation) ? (body.trim() === '' ? undefined : body) : (file ?? undefined));
  const run = async () => {
    ask(false);
    setRunning(true);
    setAnswered(null);
    try {
      setAnswered(await send(operation.method, path, [...headers(), ...Object.entries(authorization())], sent()));
    } catch (error) {
      setAnswered(error instanceof Error ? error.message : String(error));
    }
    setRunning(false);
  };
  const command = curl({
    method: operation.method,
    url: location.origin + path,
    headers: headers(),
    ...(isJson(operation) && body.trim() !== '' ? { body: compact(body) } : {}),
    token: 'authorization' in authorization(),
  });
  const inHeaders = operation.parameters.filter((parameter) => parameter.in === 'header');
  const inAddress = operation.parameters.filter((parameter) => parameter.in !== 'header');
  const field = (parameter: Parameter) => (
    <Field key={`${parameter.in}:${parameter.name}`} parameter={parameter} document={document} plugins={plugins} value={values[`${parameter.in}:${parameter.name}`] ?? ''} set={(value) => set(parameter, value)} />
  );
  const set = (parameter: Parameter, value: string) => setValues({ ...values, [`${parameter.in}:${parameter.name}`]: value });
  return (
    <div class="api-try">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (operation.changes) ask(true);
          else void run();
        }}
      >
        {inAddress.map(field)}
        {inHeaders.length > 0 && (
          <details>
            <summary>{plural(inHeaders.length, 'header')}</summary>
            <div class="api-headers">{inHeaders.map(field)}</div>
          </details>
        )}
        {isJson(operation) && <BodyForm document={document} schema={operation.body!.schema} text={body} set={setBody} wrong={wrong} />}
        {operation.body && !isJson(operation) && (
          <label class="api-field">
            <span class="api-field-name">Body</span>
            <input type="file" onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)} />
            <span class="api-field-help">{operation.body.type}</span>
          </label>
        )}
        <div class="row">
          <button class={`button ${operation.changes ? 'button-bad' : 'button-main'}`} disabled={missing.length > 0 || wrong !== null || running}>
            {running ? 'Asking…' : operation.changes ? 'Send…' : 'Send'}
          </button>
          {missing.length > 0 && <span class="muted">missing: {missing.join(', ')}</span>}
        </div>
      </form>
      <details>
        <summary>As curl</summary>
        <Code text={command} />
      </details>
      {typeof answered === 'string' && (
        <p class="bad" role="alert">
          No answer: {answered}
        </p>
      )}
      {answered !== null && typeof answered !== 'string' && <AnswerView answered={answered} />}
      {asking && (
        <Dialog title={`${operation.method} ${operation.path}`} onClose={() => ask(false)}>
          <p>{operation.summary}. This changes something on the server. Send it?</p>
          <p class="mono wrap-text">{path}</p>
          <div class="dialog-actions">
            <button type="button" class="button" onClick={() => ask(false)}>
              Leave it
            </button>
            <button type="button" class="button button-bad" onClick={() => void run()}>
              Send
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function isJson(operation: Operation): boolean {
  return operation.body?.type === 'application/json';
}

function jsonError(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'is not JSON';
  }
}

function compact(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

function Field({ parameter, document, plugins, value, set }: { parameter: Parameter; document: Document; plugins: string[]; value: string; set: (value: string) => void }): JSX.Element {
  const schema = resolve(document, parameter.schema);
  const fixed = 'default' in schema ? String(schema.default) : '';
  return (
    <label class="api-field">
      <span class="api-field-name">
        {parameter.name}
        {parameter.required && <span class="schema-required">required</span>} <span class="muted">{parameter.in}</span>
      </span>
      <Control schema={schema} value={value} set={set} placeholder={fixed} list={NAMES.test(parameter.name) ? plugins : undefined} />
      <span class="api-field-help">
        {parameter.description} <span class="schema-type">{typeText(document, schema)}</span>
      </span>
    </label>
  );
}

function Control({ schema, value, set, placeholder, list }: { schema: Record<string, unknown>; value: string; set: (value: string) => void; placeholder?: string; list?: string[] | undefined }): JSX.Element {
  const id = useId();
  const choices = Array.isArray(schema.enum) ? schema.enum.map(String) : schema.type === 'boolean' ? ['true', 'false'] : null;
  if (choices) {
    return (
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">{placeholder ? `(${placeholder})` : '(none)'}</option>
        {choices.map((choice) => (
          <option key={choice} value={choice}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  return (
    <>
      <input type="text" list={list ? id : undefined} inputMode={schema.type === 'integer' || schema.type === 'number' ? 'decimal' : 'text'} autocomplete="off" spellcheck={false} placeholder={placeholder} value={value} onInput={(event) => set(event.currentTarget.value)} />
      {list && (
        <datalist id={id}>
          {list.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      )}
    </>
  );
}

/** Fields for the simple members of the body, and the whole of it as JSON. */
function BodyForm({ document, schema, text, set, wrong }: { document: Document; schema: unknown; text: string; set: (text: string) => void; wrong: string | null }): JSX.Element {
  const whole = resolve(document, schema);
  const required = (whole.required as string[] | undefined) ?? [];
  const simple = Object.entries((whole.properties as Record<string, unknown> | undefined) ?? {})
    .map(([name, inner]) => ({ name, schema: resolve(document, inner) }))
    .filter((member) => Array.isArray(member.schema.enum) || ['string', 'integer', 'number', 'boolean'].includes(String(member.schema.type)));
  let value: Record<string, unknown> | null = null;
  try {
    const parsed = JSON.parse(text || '{}') as unknown;
    if (parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed)) value = parsed as Record<string, unknown>;
  } catch {
    // The fields rest until the text is JSON again.
  }
  const change = (name: string, type: unknown, typed: string) => {
    if (!value) return;
    const next = { ...value };
    if (typed === '') delete next[name];
    else if (type === 'boolean') next[name] = typed === 'true';
    else if ((type === 'integer' || type === 'number') && typed.trim() !== '' && Number.isFinite(Number(typed))) next[name] = Number(typed);
    else next[name] = typed;
    set(JSON.stringify(next, null, 2));
  };
  return (
    <fieldset class="body-form">
      <legend>Body</legend>
      {value &&
        simple.map((member) => (
          <label class="api-field" key={member.name}>
            <span class="api-field-name">
              {member.name}
              {required.includes(member.name) && <span class="schema-required">required</span>}
            </span>
            <Control schema={member.schema} value={value[member.name] === undefined ? '' : String(value[member.name])} set={(typed) => change(member.name, member.schema.type, typed)} placeholder={'default' in member.schema ? String(member.schema.default) : ''} />
            <span class="api-field-help">
              {String(member.schema.description ?? '')} <span class="schema-type">{typeText(document, member.schema)}</span>
            </span>
          </label>
        ))}
      <label class="api-field wide">
        <span class="api-field-name">JSON</span>
        <textarea rows={Math.min(16, Math.max(4, text.split('\n').length + 1))} spellcheck={false} value={text} aria-invalid={wrong !== null} onInput={(event) => set(event.currentTarget.value)} />
        {wrong && (
          <span class="bad api-field-help" role="alert">
            {wrong}
          </span>
        )}
      </label>
    </fieldset>
  );
}

async function send(method: string, path: string, headers: [string, string][], body: BodyInit | undefined): Promise<Answered> {
  const begun = performance.now();
  const abort = new AbortController();
  const response = await fetch(path, { method, headers, signal: abort.signal, ...(body !== undefined ? { body } : {}) });
  const stream = response.headers.get('content-type')?.startsWith('text/event-stream') ?? false;
  const timer = stream ? setTimeout(() => abort.abort(), STREAM_MS) : undefined;
  let text = '';
  let cut = false;
  try {
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      if (text.length > ANSWER_MAX) {
        cut = true;
        abort.abort();
        break;
      }
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    cut = true;
  } finally {
    clearTimeout(timer);
  }
  return { status: response.status, reason: response.statusText, headers: [...response.headers], text, cut, ms: performance.now() - begun };
}

function AnswerView({ answered }: { answered: Answered }): JSX.Element {
  const header = (name: string) => answered.headers.find(([key]) => key === name)?.[1] ?? '';
  const json = /json/.test(header('content-type')) && !answered.cut ? parsed(answered.text) : undefined;
  const traceparent = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(header('traceparent'))?.[1];
  const meta = (json as { meta?: { trace_id?: string; invocation_id?: string } } | undefined)?.meta;
  const invocation = meta?.invocation_id ?? (json as { invocation_id?: string } | undefined)?.invocation_id;
  const trace = meta?.trace_id ?? (invocation ? traceparent : undefined);
  return (
    <section class="answer" aria-label="Answer" aria-live="polite">
      <p class="row">
        <span class={`status s${String(answered.status)[0]}`}>{answered.status}</span>
        <b>{answered.reason}</b>
        <span class="muted">
          {duration(answered.ms)}, {bytes(answered.text.length)}
        </span>
        {invocation && <a href={addressOf.invocation(invocation)}>The call</a>}
        {trace && <a href={addressOf.trace(trace)}>Its trace</a>}
      </p>
      <details>
        <summary>{answered.headers.length} headers</summary>
        <table class="fields">
          <tbody>
            {answered.headers.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
      {json !== undefined ? <JsonView value={json} label="answer" /> : answered.text !== '' && <pre class="code" tabIndex={0}>{plain(answered.text.slice(0, 200_000))}</pre>}
      {answered.cut && <p class="muted">The rest was not read.</p>}
    </section>
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
