import { expect, test } from 'vitest';
import type { Trace } from '../../api/model';
import { partOf } from './parttrace';

const span = (span_id: string, parent_span_id: string | null, invocation: string) => ({ span_id, parent_span_id, name: span_id, kind: 'internal', start: '2026-01-01T00:00:00Z', duration_ms: 1, status: 'unset', attributes: { 'spanglass.invocation.id': invocation, 'spanglass.plugin.name': `plugin of ${invocation}` }, events: [] });
const line = (body: string, fields: object) => ({ timestamp: '2026-01-01T00:00:00Z', severity_text: 'INFO', body, ...fields });
const trace = {
  trace_id: 't',
  spans: [span('root', null, 'one'), span('call', 'root', 'one'), span('inner', 'call', 'two'), span('deep', 'inner', 'two')],
  logs: [line('outer', { span_id: 'root' }), line('inner', { span_id: 'deep' }), line('of the call', { invocation_id: 'two' })],
} as unknown as Trace;

test('a call that was called is its spans and lines, and knows who called it', () => {
  const part = partOf(trace, 'inner');
  expect(part.spans.map((one) => one.span_id)).toEqual(['inner', 'deep']);
  expect(part.logs.map((log) => log.body)).toEqual(['inner', 'of the call']);
  expect([part.caller, part.more]).toEqual([{ plugin: 'plugin of one', invocation: 'one' }, 2]);
});

test('the outermost call has all of it, and so has a call whose root is not kept', () => {
  expect(partOf(trace, 'root')).toMatchObject({ caller: null, more: 0 });
  expect(partOf(trace, 'gone').spans).toHaveLength(4);
  expect(partOf(trace, undefined).logs).toHaveLength(3);
});
