// A schema as a tree; what is referred to is opened by hand, so that circles do no harm.

import type { JSX } from 'preact';
import { referenceName, resolve, typeText, type Document } from './openapi';

export function SchemaView({ document, schema, depth = 0 }: { document: Document; schema: unknown; depth?: number }): JSX.Element {
  const whole = merged(document, schema);
  const properties = Object.entries((whole.properties as Record<string, unknown> | undefined) ?? {});
  const required = (whole.required as string[] | undefined) ?? [];
  if (properties.length === 0) {
    const items = resolve(document, schema).items;
    if (items !== undefined && depth < 8) return <Member name="items" document={document} schema={items} required={false} depth={depth} />;
    return <p class="schema-type">{typeText(document, schema)}</p>;
  }
  return (
    <ul class="schema">
      {properties.map(([name, inner]) => (
        <li key={name}>
          <Member name={name} document={document} schema={inner} required={required.includes(name)} depth={depth} />
        </li>
      ))}
    </ul>
  );
}

function Member({ name, document, schema, required, depth }: { name: string; document: Document; schema: unknown; required: boolean; depth: number }): JSX.Element {
  const whole = resolve(document, schema);
  const inside = inner(document, schema);
  const line = (
    <>
      <code class="schema-name">{name}</code>
      {required && <span class="schema-required">required</span>}
      <span class="schema-type">{typeText(document, schema, 1)}</span>
      {'default' in whole && <span class="muted"> default {JSON.stringify(whole.default)}</span>}
      {typeof whole.description === 'string' && <span class="schema-text">{whole.description}</span>}
    </>
  );
  if (inside === null || depth > 8) return <div class="schema-line">{line}</div>;
  return (
    <details>
      <summary class="schema-line">{line}</summary>
      <SchemaView document={document} schema={inside} depth={depth + 1} />
    </details>
  );
}

/** What of a value's schema is worth opening: its members, those of its items, or of the one choice that has some. */
function inner(document: Document, schema: unknown): unknown {
  const whole = merged(document, schema);
  if (whole.properties) return schema;
  if (whole.items) return inner(document, whole.items);
  for (const key of ['oneOf', 'anyOf']) {
    const choices = whole[key];
    if (!Array.isArray(choices)) continue;
    const found = choices.find((choice) => referenceName(choice) !== null || resolve(document, choice).properties);
    if (found) return inner(document, found);
  }
  return null;
}

/** `allOf` put together. */
function merged(document: Document, schema: unknown): Record<string, unknown> {
  const whole = resolve(document, schema);
  if (!Array.isArray(whole.allOf)) return whole;
  const parts = whole.allOf.map((part) => resolve(document, part));
  return {
    ...whole,
    properties: Object.assign({}, ...parts.map((part) => part.properties ?? {})),
    required: parts.flatMap((part) => (part.required as string[] | undefined) ?? []),
  };
}
