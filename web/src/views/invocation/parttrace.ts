// The part of a trace that belongs to one call.

import type { Trace } from '../../api/model';
import type { LogRecord } from '../../parts/LogLines';
import type { SpanData } from './tree';

export interface Part {
  spans: SpanData[];
  logs: LogRecord[];
  /** The call that called this one, within the same trace. */
  caller: { plugin: string; invocation: string } | null;
  /** Whether the trace has more than this. */
  more: number;
}

/** The spans below `root` and the lines at them; all of it if there is no such span. */
export function partOf(trace: Trace, root: string | undefined): Part {
  const spans = trace.spans as SpanData[];
  const logs = trace.logs as LogRecord[];
  const top = spans.find((span) => span.span_id === root);
  if (!top) return { spans, logs, caller: null, more: 0 };
  const children = new Map<string, SpanData[]>();
  for (const span of spans) {
    if (!span.parent_span_id || span === top) continue;
    const list = children.get(span.parent_span_id);
    if (list) list.push(span);
    else children.set(span.parent_span_id, [span]);
  }
  const inside = new Set<SpanData>([top]);
  // A set is gone through in the order of insertion, also over what is added meanwhile.
  for (const span of inside) for (const child of children.get(span.span_id) ?? []) inside.add(child);
  const ids = new Set([...inside].map((span) => span.span_id));
  const calls = new Set([...inside].map((span) => String(span.attributes['spanglass.invocation.id'] ?? '')));
  const parent = spans.find((span) => span.span_id === top.parent_span_id);
  const text = (key: string) => String(parent?.attributes[key] ?? '');
  return {
    spans: spans.filter((span) => inside.has(span)),
    logs: logs.filter((log) => (log.span_id && ids.has(log.span_id)) || (log.invocation_id && calls.has(log.invocation_id))),
    caller: parent ? { plugin: text('spanglass.plugin.name'), invocation: text('spanglass.invocation.id') } : null,
    more: spans.length - inside.size,
  };
}
