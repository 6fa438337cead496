import { expect, test } from 'vitest';
import { initial, resolve, said, validate, widgetOf, type Schema } from './schema';

const schema: Schema = {
  type: 'object',
  required: ['amount', 'channel', 'payer'],
  additionalProperties: false,
  properties: {
    amount: { type: 'number', minimum: 0, exclusiveMaximum: 1000 },
    country: { type: 'string', pattern: '^[A-Z]{2}$' },
    channel: { enum: ['web', 'pos'] },
    hour: { type: ['integer', 'null'], maximum: 23 },
    payer: { $ref: '#/$defs/payer' },
    tags: { type: 'array', items: { type: 'string', minLength: 1 }, maxItems: 2, uniqueItems: true },
    'a/b': { type: 'boolean', default: true },
  },
  $defs: { payer: { type: 'object', required: ['name'], properties: { name: { type: 'string' }, parent: { $ref: '#/$defs/payer' } } } },
};

test('what fits is not complained about', () => {
  expect(validate(schema, { amount: 1.5, channel: 'web', hour: null, payer: { name: 'Ada', parent: { name: 'B' } }, tags: ['x'], 'a/b': false }, schema)).toEqual([]);
});

test('every mistake has its place', () => {
  const value = { amount: -1, country: 'fr', channel: 'fax', hour: 24, payer: { parent: {} }, tags: ['', 'y', 'y'], 'a/b': 1, more: 1 };
  expect(validate(schema, value, schema)).toEqual([
    { pointer: '/amount', message: 'must be at least 0' },
    { pointer: '/country', message: 'must match ^[A-Z]{2}$' },
    { pointer: '/channel', message: 'is none of "web", "pos"' },
    { pointer: '/hour', message: 'must be at most 23' },
    { pointer: '/payer/name', message: 'is required' },
    { pointer: '/payer/parent/name', message: 'is required' },
    { pointer: '/tags', message: 'must have at most 2 items' },
    { pointer: '/tags', message: 'must not have an item twice' },
    { pointer: '/tags/0', message: 'must have at least 1 characters' },
    { pointer: '/a~1b', message: 'must be boolean, is integer' },
    { pointer: '/more', message: 'is not known' },
  ]);
  expect(validate(schema, 'text', schema)).toEqual([{ pointer: '', message: 'must be object, is string' }]);
});

test('a form begins with what is required and with defaults', () => {
  expect(initial(schema, schema)).toEqual({ payer: {}, 'a/b': true });
});

test('each kind of value has its widget', () => {
  const of = (given: Schema) => widgetOf(resolve(given, schema));
  expect(of({ type: 'string' })).toBe('longtext');
  expect(of({ type: 'string', maxLength: 9 })).toBe('text');
  expect(of({ type: 'string', 'x-sensitive': true })).toBe('secret');
  expect(of({ anyOf: [{ type: 'integer' }, { type: 'null' }] })).toBe('integer');
  expect(of({ anyOf: [{ type: 'integer' }, { type: 'string' }] })).toBe('json');
  expect(of({ allOf: [{ $ref: '#/$defs/payer' }, { required: ['x'] }] })).toBe('object');
  expect(of({ type: 'object', additionalProperties: { type: 'string' } })).toBe('json');
  expect(of({ type: 'array', items: { type: 'string' } })).toBe('array');
  expect(of({})).toBe('json');
});

test('a reference to itself ends', () => {
  const loop: Schema = { $defs: { a: { $ref: '#/$defs/a' } } };
  expect(resolve({ $ref: '#/$defs/a' }, loop)).toEqual({});
});

test('bounds are said', () => {
  expect(said({ type: 'integer', minimum: 0, maximum: 23 })).toBe('integer, ≥ 0, ≤ 23');
  expect(said({ enum: ['a'] })).toBe('');
});
