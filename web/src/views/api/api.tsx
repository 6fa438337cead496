// `/api`: the server's own OpenAPI document, to read and to try.

import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { request } from '../../api/client';
import { useData } from '../../lib/data';
import { plural } from '../../lib/format';
import { currentQuery, setQuery } from '../../lib/router';
import { ErrorBox } from '../../parts/ErrorBox';
import { operations, type Document, type Operation } from './openapi';
import { SchemaView } from './SchemaView';
import { TryOut } from './TryOut';
import './style.css';

export default function ApiView(): JSX.Element {
  const { data, error, reload } = useData('openapi', async (signal) => (await request<Document>('GET', '/openapi.json', { signal })).body);
  const { q = '', op = '' } = currentQuery.value;
  const all = useMemo(() => (data ? operations(data) : []), [data]);
  const wanted = q.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = all.filter((one) => {
    const text = `${one.method} ${one.path} ${one.id} ${one.summary} ${one.tag} ${one.parameters.map((parameter) => parameter.name).join(' ')}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
  const chosen = all.find((one) => one.id === op);
  useEffect(() => {
    if (chosen) document.getElementById(`op-${chosen.id}`)?.scrollIntoView({ block: 'nearest' });
  }, [data]);
  if (error && !data) return <ErrorBox error={error} retry={reload} title="The document cannot be loaded" />;
  if (!data) return <div class="waiting" aria-busy="true" />;
  const tags = [...new Set(shown.map((one) => one.tag))];
  return (
    <section class="api" aria-labelledby="api-title">
      <header class="view-head">
        <h1 id="api-title">API</h1>
        <span class="muted">
          {data.info?.title} {data.info?.version}, {plural(all.length, 'operation')}
        </span>
        <a class="row-end" href="/openapi.json" target="_blank" rel="noreferrer">
          openapi.json
        </a>
      </header>
      <div class="api-split">
        <nav class="api-list" aria-label="Operations">
          <input type="search" aria-label="Search operations" placeholder="Search operations" value={q} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
          {tags.map((tag) => (
            <section key={tag}>
              <h2>{tag}</h2>
              <ul>
                {shown
                  .filter((one) => one.tag === tag)
                  .map((one) => (
                    <li key={one.id}>
                      <button type="button" id={`op-${one.id}`} aria-current={one.id === op ? 'true' : undefined} onClick={() => setQuery({ op: one.id }, { replace: false })} title={one.summary}>
                        <Method method={one.method} /> <span class="path">{one.path}</span>
                      </button>
                    </li>
                  ))}
              </ul>
            </section>
          ))}
          {shown.length === 0 && <p class="muted">No operation matches “{q}”.</p>}
        </nav>
        {chosen ? <OperationView key={chosen.id} operation={chosen} document={data} /> : <Overview document={data} />}
      </div>
    </section>
  );
}

function Method({ method }: { method: string }): JSX.Element {
  return <span class={`method ${method.toLowerCase()}`}>{method}</span>;
}

function Overview({ document }: { document: Document }): JSX.Element {
  return (
    <div class="api-main card">
      <p>{document.info?.summary}</p>
      <p class="muted">Choose an operation to read it and to try it. What a trial runs is real: a call of a plugin is a call, and appears under Invocations with its trace.</p>
    </div>
  );
}

function OperationView({ operation, document }: { operation: Operation; document: Document }): JSX.Element {
  const [tab, setTab] = useState<'try' | 'answers'>('try');
  return (
    <article class="api-main card">
      <h2 class="operation-title">
        <Method method={operation.method} /> <code>{operation.path}</code>
      </h2>
      <p>{operation.summary}</p>
      {operation.description && <p class="muted">{operation.description}</p>}
      <div class="segments" role="group" aria-label="Shown">
        <button type="button" aria-pressed={tab === 'try'} onClick={() => setTab('try')}>
          Try it
        </button>
        <button type="button" aria-pressed={tab === 'answers'} onClick={() => setTab('answers')}>
          Answers and schemas
        </button>
      </div>
      {tab === 'try' ? <TryOut operation={operation} document={document} /> : <Answers operation={operation} document={document} />}
    </article>
  );
}

function Answers({ operation, document }: { operation: Operation; document: Document }): JSX.Element {
  return (
    <div class="answers">
      {operation.body && (
        <section>
          <h3>
            Body <span class="muted">{operation.body.type}</span>
          </h3>
          <SchemaView document={document} schema={operation.body.schema} />
        </section>
      )}
      {operation.answers.map((answer) => (
        <section key={answer.status}>
          <h3>
            <span class={`status s${answer.status[0]}`}>{answer.status}</span> {answer.description}
          </h3>
          {answer.headers.map((header) => (
            <p key={header.name} class="muted">
              <code>{header.name}</code> {header.description}
            </p>
          ))}
          {answer.types.map(({ type, schema }) => (
            <div key={type}>
              <p class="muted mono">{type}</p>
              {schema && <SchemaView document={document} schema={schema} />}
            </div>
          ))}
        </section>
      ))}
    </div>
  );
}
