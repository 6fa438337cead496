// As much of JSON Schema 2020-12 as a form needs. What it does not know it lets pass: the server judges.

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  examples?: unknown[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  items?: Schema | boolean;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  properties?: Record<string, Schema | boolean>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  $ref?: string;
  $defs?: Record<string, Schema>;
  definitions?: Record<string, Schema>;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  writeOnly?: boolean;
  deprecated?: boolean;
  'x-sensitive'?: boolean;
}

export interface Wrong {
  /** JSON Pointer into the input. */
  pointer: string;
  message: string;
}

export const escapePointer = (name: string): string => name.replace(/~/g, '~0').replace(/\//g, '~1');

/** A `$ref` into the same document is followed, `allOf` is put together, a choice between X and null is X. */
export function resolve(given: Schema | boolean | undefined, root: Schema, depth = 0): Schema {
  if (typeof given !== 'object' || given === null) return {};
  if (depth > 16) return {};
  let schema = given;
  if (schema.$ref?.startsWith('#')) {
    const target = schema.$ref.slice(1).split('/').slice(1).reduce<unknown>((at, part) => {
      const name = decodeURIComponent(part).replace(/~1/g, '/').replace(/~0/g, '~');
      return at && typeof at === 'object' ? (at as Record<string, unknown>)[name] : undefined;
    }, root);
    const { $ref: _, ...beside } = schema;
    schema = { ...resolve(target as Schema, root, depth + 1), ...beside };
  }
  if (schema.allOf) {
    const { allOf, ...rest } = schema;
    schema = [...allOf.map((part) => resolve(part, root, depth + 1)), rest].reduce<Schema>(
      (sum, part) => ({
        ...sum, ...part,
        ...(sum.properties || part.properties ? { properties: { ...sum.properties, ...part.properties } } : {}),
        ...(sum.required || part.required ? { required: [...new Set([...(sum.required ?? []), ...(part.required ?? [])])] } : {}),
      }),
      {},
    );
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) {
    const others = choices.filter((choice) => resolve(choice, root, depth + 1).type !== 'null');
    if (others.length === 1) {
      const { anyOf: _, oneOf: __, ...rest } = schema;
      schema = { ...resolve(others[0], root, depth + 1), ...rest };
    }
  }
  return schema;
}

export type Widget = 'text' | 'longtext' | 'secret' | 'number' | 'integer' | 'boolean' | 'choice' | 'object' | 'array' | 'json';

/** How a value is put in. What has no one type is written as JSON. */
export function widgetOf(schema: Schema): Widget {
  if (schema.enum && schema.enum.every((one) => one === null || typeof one !== 'object')) return 'choice';
  if (schema.const !== undefined || schema.anyOf || schema.oneOf) return 'json';
  const types = (Array.isArray(schema.type) ? schema.type : schema.type ? [schema.type] : []).filter((type) => type !== 'null');
  if (types.length !== 1) return schema.properties ? 'object' : 'json';
  switch (types[0]) {
    case 'string':
      if (schema.writeOnly || schema['x-sensitive']) return 'secret';
      return schema.format || schema.pattern || (schema.maxLength ?? Infinity) <= 200 ? 'text' : 'longtext';
    case 'number': return 'number';
    case 'integer': return 'integer';
    case 'boolean': return 'boolean';
    case 'array': return schema.items && typeof schema.items === 'object' ? 'array' : 'json';
    case 'object': return schema.properties && Object.keys(schema.properties).length ? 'object' : 'json';
    default: return 'json';
  }
}

/** What a form begins with: defaults, and what is required with the simplest value. Optional things are left out. */
export function initial(given: Schema | boolean | undefined, root: Schema): unknown {
  const schema = resolve(given, root);
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  switch (widgetOf(schema)) {
    case 'object': {
      const value: Record<string, unknown> = {};
      for (const [name, property] of Object.entries(schema.properties ?? {})) {
        const inner = resolve(property, root);
        const needed = schema.required?.includes(name) ?? false;
        if (inner.default !== undefined || (needed && widgetOf(inner) === 'object')) value[name] = initial(inner, root);
        else if (needed && widgetOf(inner) === 'array') value[name] = [];
      }
      return value;
    }
    case 'array': return [];
    case 'boolean': return false;
    case 'text': case 'longtext': case 'secret': return '';
    default: return undefined;
  }
}

const typeOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value === 'number' ? (Number.isInteger(value) ? 'integer' : 'number') : typeof value;

export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && same(left[key], right[key]));
}

/** What the schema says against a value. */
export function validate(given: Schema | boolean | undefined, value: unknown, root: Schema, pointer = ''): Wrong[] {
  const schema = resolve(given, root);
  const wrong = (message: string): Wrong[] => [{ pointer, message }];
  if (schema.enum && !schema.enum.some((one) => same(one, value))) return wrong(`is none of ${schema.enum.map((one) => JSON.stringify(one)).join(', ')}`);
  if (schema.const !== undefined && !same(schema.const, value)) return wrong(`must be ${JSON.stringify(schema.const)}`);
  const types = Array.isArray(schema.type) ? schema.type : schema.type ? [schema.type] : [];
  const type = typeOf(value);
  if (types.length && !types.includes(type) && !(type === 'integer' && types.includes('number'))) return wrong(`must be ${types.join(' or ')}, is ${type}`);
  if (typeof value === 'string') return text(schema, value).flatMap(wrong);
  if (typeof value === 'number') return number(schema, value).flatMap(wrong);
  const found: Wrong[] = [];
  if (Array.isArray(value)) {
    if (value.length < (schema.minItems ?? 0)) found.push(...wrong(`must have at least ${schema.minItems} items`));
    if (value.length > (schema.maxItems ?? Infinity)) found.push(...wrong(`must have at most ${schema.maxItems} items`));
    if (schema.uniqueItems && value.some((one, index) => value.findIndex((other) => same(one, other)) !== index)) found.push(...wrong('must not have an item twice'));
    value.forEach((item, index) => found.push(...validate(schema.items, item, root, `${pointer}/${index}`)));
  } else if (type === 'object') {
    const object = value as Record<string, unknown>;
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(object, name)) found.push({ pointer: `${pointer}/${escapePointer(name)}`, message: 'is required' });
    }
    for (const [name, item] of Object.entries(object)) {
      const property = schema.properties?.[name] ?? schema.additionalProperties;
      const where = `${pointer}/${escapePointer(name)}`;
      if (property === false) found.push({ pointer: where, message: 'is not known' });
      else found.push(...validate(property, item, root, where));
    }
  }
  return found;
}

function text(schema: Schema, value: string): string[] {
  const found: string[] = [];
  const length = [...value].length;
  if (length < (schema.minLength ?? 0)) found.push(`must have at least ${schema.minLength} characters`);
  if (length > (schema.maxLength ?? Infinity)) found.push(`must have at most ${schema.maxLength} characters`);
  if (schema.pattern !== undefined && !fits(schema.pattern, value)) found.push(`must match ${schema.pattern}`);
  return found;
}

/** A pattern that this browser does not understand is left to the server. */
function fits(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(value);
  } catch {
    return true;
  }
}

function number(schema: Schema, value: number): string[] {
  const found: string[] = [];
  if (value < (schema.minimum ?? -Infinity)) found.push(`must be at least ${schema.minimum}`);
  if (value > (schema.maximum ?? Infinity)) found.push(`must be at most ${schema.maximum}`);
  if (value <= (schema.exclusiveMinimum ?? -Infinity)) found.push(`must be more than ${schema.exclusiveMinimum}`);
  if (value >= (schema.exclusiveMaximum ?? Infinity)) found.push(`must be less than ${schema.exclusiveMaximum}`);
  if (schema.multipleOf && Math.abs(value / schema.multipleOf - Math.round(value / schema.multipleOf)) > 1e-9) found.push(`must be a multiple of ${schema.multipleOf}`);
  return found;
}

/** `integer ≥ 0, ≤ 23`: what is asked of a value, beside its name. */
export function said(schema: Schema): string {
  const types = (Array.isArray(schema.type) ? schema.type : [schema.type]).filter((type) => type && type !== 'null');
  const parts = [schema.enum ? '' : types.join(' or ') || 'any'];
  if (schema.format) parts.push(schema.format);
  if (schema.minimum !== undefined) parts.push(`≥ ${schema.minimum}`);
  if (schema.exclusiveMinimum !== undefined) parts.push(`> ${schema.exclusiveMinimum}`);
  if (schema.maximum !== undefined) parts.push(`≤ ${schema.maximum}`);
  if (schema.exclusiveMaximum !== undefined) parts.push(`< ${schema.exclusiveMaximum}`);
  if (schema.minLength) parts.push(`≥ ${schema.minLength} characters`);
  if (schema.maxLength !== undefined) parts.push(`≤ ${schema.maxLength} characters`);
  if (schema.pattern) parts.push(schema.pattern);
  return parts.filter(Boolean).join(', ');
}
