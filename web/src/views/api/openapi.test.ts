import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { address, operations, resolve, sample, typeText, type Document } from './openapi';

const server = JSON.parse(readFileSync(new URL('../../../../src/api/openapi.json', import.meta.url), 'utf8')) as Document;

describe('operations', () => {
  test('of the server are all there, by tag, with their parameters', () => {
    const found = operations(server);
    const expected = Object.values(server.paths!).reduce((sum, item) => sum + Object.keys(item).filter((key) => key !== 'parameters').length, 0);
    expect(found).toHaveLength(expected);
    const tags = found.map((operation) => operation.tag);
    expect([...new Set(tags)]).toHaveLength(tags.filter((tag, index) => tag !== tags[index - 1]).length);
    const list = found.find((operation) => operation.id === 'listInvocations')!;
    expect(list.parameters.map((parameter) => parameter.name)).toContain('outcome');
    expect(list.changes).toBe(false);
    const invoke = found.find((operation) => operation.id === 'invoke')!;
    expect([invoke.changes, invoke.body?.type, invoke.parameters[0]?.required]).toEqual([true, 'application/json', true]);
    expect(sample(server, invoke.body!.schema)).toEqual({ input: {} });
  });
  test('take over the parameters of their path', () => {
    const [get] = operations({ paths: { '/a/{id}': { parameters: [{ name: 'id', in: 'path' }, { name: 'q', in: 'query', description: 'outer' }], get: { parameters: [{ name: 'q', in: 'query', description: 'inner' }] } } } });
    expect(get!.parameters.map(({ name, description, required }) => [name, description, required])).toEqual([
      ['id', '', true],
      ['q', 'inner', false],
    ]);
  });
});

describe('schemas', () => {
  const document: Document = { components: { schemas: { A: { $ref: '#/components/schemas/B' }, B: { $ref: '#/components/schemas/A' }, Tree: { type: 'object', required: ['left'], properties: { left: { $ref: '#/components/schemas/Tree' } } } } } };
  test('in circles end', () => {
    expect(resolve(document, { $ref: '#/components/schemas/A' })).toEqual({});
    expect(resolve(document, { $ref: 'http://elsewhere/' })).toEqual({});
    expect(JSON.stringify(sample(document, { $ref: '#/components/schemas/Tree' })).length).toBeLessThan(200);
  });
  test('are told in words', () => {
    expect(typeText(server, { type: ['string', 'null'], format: 'date-time' })).toBe('string (date-time) | null');
    expect(typeText(server, { type: 'array', items: { $ref: '#/components/schemas/Span' } })).toBe('list of Span');
    expect(typeText(server, { type: 'integer', minimum: 1, maximum: 1000 })).toBe('integer \u2265 1 \u2264 1000');
  });
});

test('an address is made of its parameters, each in its place', () => {
  const invoke = operations(server).find((operation) => operation.id === 'invoke')!;
  expect(address(invoke, { 'path:name': 'a/b', 'query:mode': 'async', 'header:traceparent': 'x' })).toEqual({ path: '/v1/plugins/a%2Fb/invoke?mode=async', missing: [] });
  expect(address(invoke, {}).missing).toEqual(['name']);
});
