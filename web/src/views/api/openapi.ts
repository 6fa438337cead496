// An OpenAPI 3.1 document as a list of operations with what a form needs. It is this server's own document,
// yet nothing here relies on its shape beyond what OpenAPI says.

export type Schema = Record<string, unknown>;

export interface Document {
  info?: { title?: string; version?: string; summary?: string };
  tags?: { name: string; description?: string }[];
  paths?: Record<string, Record<string, unknown>>;
  components?: Record<string, Record<string, unknown>>;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required: boolean;
  description: string;
  schema: Schema;
}

export interface Body {
  type: string;
  required: boolean;
  schema: Schema;
}

export interface Answer {
  status: string;
  description: string;
  types: { type: string; schema: Schema | null }[];
  headers: { name: string; description: string }[];
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  tag: string;
  summary: string;
  description: string;
  parameters: Parameter[];
  body: Body | null;
  answers: Answer[];
  /** It changes something: a person is asked first. */
  changes: boolean;
}

const METHODS = ['get', 'put', 'post', 'delete', 'patch', 'head', 'options'];

/** What `$ref` names, if that is what `value` is. A reference to a reference is followed, a circle is not. */
export function resolve(document: Document, value: unknown): Record<string, unknown> {
  let at = value;
  for (let hops = 0; hops < 16; hops++) {
    if (at === null || typeof at !== 'object') return {};
    const reference = (at as Record<string, unknown>)['$ref'];
    if (typeof reference !== 'string') return at as Record<string, unknown>;
    if (!reference.startsWith('#/')) return {};
    at = reference
      .slice(2)
      .split('/')
      .reduce<unknown>((inner, part) => (inner as Record<string, unknown> | undefined)?.[part.replace(/~1/g, '/').replace(/~0/g, '~')], document);
  }
  return {};
}

/** Name of the schema that is referred to, to show it instead of repeating the schema. */
export function referenceName(value: unknown): string | null {
  const reference = (value as Record<string, unknown> | null)?.['$ref'];
  return typeof reference === 'string' ? (reference.split('/').pop() ?? null) : null;
}

export function operations(document: Document): Operation[] {
  const found: Operation[] = [];
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const raw = item[method];
      if (raw === null || typeof raw !== 'object') continue;
      found.push(operation(document, path, method, raw as Record<string, unknown>, item));
    }
  }
  const order = new Map((document.tags ?? []).map((tag, index) => [tag.name, index]));
  const rank = (operation: Operation) => order.get(operation.tag) ?? order.size;
  return found
    .map((operation, index) => ({ operation, index }))
    .sort((a, b) => rank(a.operation) - rank(b.operation) || a.index - b.index)
    .map(({ operation }) => operation);
}

function operation(document: Document, path: string, method: string, raw: Record<string, unknown>, item: Record<string, unknown>): Operation {
  const own = parameters(document, raw.parameters);
  const shared = parameters(document, item.parameters).filter((outer) => !own.some((inner) => inner.name === outer.name && inner.in === outer.in));
  const tags = Array.isArray(raw.tags) ? (raw.tags as unknown[]) : [];
  return {
    id: text(raw.operationId) || `${method} ${path}`,
    method: method.toUpperCase(),
    path,
    tag: text(tags[0]) || 'other',
    summary: text(raw.summary),
    description: text(raw.description),
    parameters: [...shared, ...own],
    body: body(document, raw.requestBody),
    answers: answers(document, raw.responses),
    changes: !['get', 'head', 'options'].includes(method),
  };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function parameters(document: Document, list: unknown): Parameter[] {
  if (!Array.isArray(list)) return [];
  return list
    .map((entry) => resolve(document, entry))
    .filter((entry) => entry.in === 'path' || entry.in === 'query' || entry.in === 'header')
    .map((entry) => ({
      name: text(entry.name),
      in: entry.in as Parameter['in'],
      required: entry.required === true || entry.in === 'path',
      description: text(entry.description),
      schema: (entry.schema as Schema | undefined) ?? {},
    }));
}

function body(document: Document, value: unknown): Body | null {
  const request = resolve(document, value);
  const [first] = Object.entries((request.content as Record<string, { schema?: Schema }> | undefined) ?? {});
  if (!first) return null;
  return { type: first[0], required: request.required === true, schema: first[1].schema ?? {} };
}

function answers(document: Document, value: unknown): Answer[] {
  return Object.entries((value as Record<string, unknown> | undefined) ?? {}).map(([status, entry]) => {
    const answer = resolve(document, entry);
    const content = (answer.content as Record<string, { schema?: Schema }> | undefined) ?? {};
    const headers = (answer.headers as Record<string, unknown> | undefined) ?? {};
    return {
      status,
      description: text(answer.description),
      types: Object.entries(content).map(([type, media]) => ({ type, schema: media.schema ?? null })),
      headers: Object.entries(headers).map(([name, header]) => ({ name, description: text(resolve(document, header).description) })),
    };
  });
}

/** A value to begin with: examples and defaults where there are some, else the least that the schema asks for. */
export function sample(document: Document, value: unknown, depth = 0): unknown {
  const schema = resolve(document, value);
  if ('example' in schema) return schema.example;
  if (Array.isArray(schema.examples) && schema.examples.length > 0) return schema.examples[0];
  if ('const' in schema) return schema.const;
  if ('default' in schema) return schema.default;
  if (Array.isArray(schema.enum) && schema.enum.length > 0) return schema.enum[0];
  if (depth > 6) return null;
  for (const key of ['oneOf', 'anyOf']) {
    const choices = schema[key];
    if (Array.isArray(choices) && choices.length > 0) return sample(document, choices[0], depth + 1);
  }
  if (Array.isArray(schema.allOf)) {
    const parts = schema.allOf.map((part) => sample(document, part, depth + 1));
    return Object.assign({}, ...parts.filter((part) => part !== null && typeof part === 'object'));
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type) {
    case 'array':
      return [];
    case 'string':
      return '';
    case 'integer':
    case 'number':
      return typeof schema.minimum === 'number' ? schema.minimum : 0;
    case 'boolean':
      return false;
    case 'null':
      return null;
  }
  const properties = schema.properties as Record<string, unknown> | undefined;
  if (type !== 'object' && !properties) return {};
  const required = Array.isArray(schema.required) ? (schema.required as unknown[]) : [];
  return Object.fromEntries(
    Object.entries(properties ?? {})
      .filter(([name]) => required.includes(name))
      .map(([name, inner]) => [name, sample(document, inner, depth + 1)]),
  );
}

/** The schema as words: `string`, `integer ≥ 1`, `list of Span`, `a | b`. */
export function typeText(document: Document, value: unknown, depth = 0): string {
  const name = referenceName(value);
  if (name && depth > 0) return name;
  const schema = resolve(document, value);
  if (Array.isArray(schema.enum)) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if ('const' in schema) return JSON.stringify(schema.const);
  for (const key of ['oneOf', 'anyOf']) {
    const choices = schema[key];
    if (Array.isArray(choices)) return choices.map((choice) => typeText(document, choice, depth + 1)).join(' | ');
  }
  if (Array.isArray(schema.allOf)) return schema.allOf.map((part) => typeText(document, part, depth + 1)).join(' & ');
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  return types
    .map((type) => {
      if (type === 'array') return depth > 3 ? 'list' : `list of ${typeText(document, schema.items, depth + 1)}`;
      if (type === undefined) return name ?? (schema.properties ? 'object' : 'any');
      if (type === 'null') return 'null';
      const bounds: string[] = [];
      if (typeof schema.minimum === 'number') bounds.push(`\u2265 ${schema.minimum}`);
      if (typeof schema.maximum === 'number') bounds.push(`\u2264 ${schema.maximum}`);
      const format = typeof schema.format === 'string' ? ` (${schema.format})` : '';
      return String(type) + format + (bounds.length > 0 ? ' ' + bounds.join(' ') : '');
    })
    .join(' | ');
}

/** The address with its parameters; null and a reason if one that must be there is missing. */
export function address(operation: Operation, values: Record<string, string>): { path: string; missing: string[] } {
  const missing: string[] = [];
  let path = operation.path;
  const query = new URLSearchParams();
  for (const parameter of operation.parameters) {
    const value = values[`${parameter.in}:${parameter.name}`] ?? '';
    if (value === '') {
      if (parameter.required) missing.push(parameter.name);
      continue;
    }
    if (parameter.in === 'path') path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (parameter.in === 'query') query.append(parameter.name, value);
  }
  const rest = query.toString();
  return { path: rest === '' ? path : `${path}?${rest}`, missing };
}
