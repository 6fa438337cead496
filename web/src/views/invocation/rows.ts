// The rows of the waterfall: what is left of the tree after collapsing, hiding and searching.

import type { Log } from '../../api/model';
import type { Node, Tree } from './tree';

/** A log record; besides what is described, it has the fields that the plugin gave it. */
export type LogLine = Log & { [field: string]: unknown };

export type Row =
  | { type: 'span'; node: Node; collapsed: boolean; parent: boolean; match: boolean }
  | { type: 'log'; node: Node; log: LogLine };

export interface Shown {
  collapsed: ReadonlySet<string>;
  /** Spans shorter than this are left out, except errors and what holds a longer one. */
  shorterThanMs?: number;
  /** Only spans that hold this text, with what they lie in. */
  text?: string;
  /** Only these spans, with what they lie in (the critical path). */
  only?: ReadonlySet<number>;
  /** Lines to be shown below their spans. */
  logs?: ReadonlyMap<string, readonly LogLine[]>;
}

export interface Rows {
  rows: Row[];
  /** How many spans the filters left out (not those in collapsed ones). */
  hidden: number;
}

export function rowsOf(tree: Tree, shown: Shown): Rows {
  const keep = kept(tree, shown);
  const text = shown.text?.toLowerCase() ?? '';
  const rows: Row[] = [];
  const stack = [...tree.roots].reverse();
  while (stack.length > 0) {
    const node = tree.nodes[stack.pop()!]!;
    if (keep && !keep[node.index]) continue;
    const children = keep ? node.children.filter((child) => keep[child]) : node.children;
    const collapsed = children.length > 0 && shown.collapsed.has(node.span.span_id);
    rows.push({ type: 'span', node, collapsed, parent: children.length > 0, match: text !== '' && holds(node, text) });
    for (const log of shown.logs?.get(node.span.span_id) ?? []) rows.push({ type: 'log', node, log });
    if (!collapsed) for (let i = children.length - 1; i >= 0; i--) stack.push(children[i]!);
  }
  let hidden = 0;
  if (keep) for (const flag of keep) if (!flag) hidden++;
  return { rows, hidden };
}

/** One flag a span; null if no filter is set. */
function kept(tree: Tree, { shorterThanMs = 0, text = '', only }: Shown): Uint8Array | null {
  if (shorterThanMs <= 0 && text === '' && !only) return null;
  const keep = new Uint8Array(tree.nodes.length);
  const wanted = text.toLowerCase();
  for (const node of tree.nodes) {
    const long = node.end - node.start >= shorterThanMs || node.failed;
    if (!long || (only && !only.has(node.index)) || (wanted !== '' && !holds(node, wanted))) continue;
    for (let at = node.index; at >= 0 && !keep[at]; at = tree.nodes[at]!.parent) keep[at] = 1;
  }
  // A trace is never shown as nothing because all of it is short.
  if (text === '') for (const root of tree.roots) keep[root] = 1;
  return keep;
}

function holds(node: Node, wanted: string): boolean {
  const { name, span_id, attributes } = node.span;
  if (name.toLowerCase().includes(wanted) || span_id === wanted || node.plugin.toLowerCase().includes(wanted)) return true;
  for (const key in attributes) {
    const value = attributes[key];
    if (key.toLowerCase().includes(wanted) || String(value).toLowerCase().includes(wanted)) return true;
  }
  return false;
}

/** What is collapsed when nothing deeper than `depth` is shown; 0 leaves the roots alone. */
export function collapsedTo(tree: Tree, depth: number): Set<string> {
  const collapsed = new Set<string>();
  for (const node of tree.nodes) if (node.depth >= depth && node.children.length > 0) collapsed.add(node.span.span_id);
  return collapsed;
}

/** Opens what hides `id`. */
export function opened(tree: Tree, collapsed: ReadonlySet<string>, id: string): Set<string> {
  const next = new Set(collapsed);
  let at = tree.nodes[tree.byId.get(id) ?? -1]?.parent ?? -1;
  for (; at >= 0; at = tree.nodes[at]!.parent) next.delete(tree.nodes[at]!.span.span_id);
  return next;
}

/** Lines by the span at which they were written; those whose span is not there go to the root of their trace. */
export function logsBySpan(tree: Tree, logs: readonly LogLine[]): Map<string, LogLine[]> {
  const by = new Map<string, LogLine[]>();
  const root = tree.nodes[tree.roots[0] ?? -1]?.span.span_id ?? '';
  for (const log of logs) {
    const id = log.span_id && tree.byId.has(log.span_id) ? log.span_id : root;
    const list = by.get(id);
    if (list) list.push(log);
    else by.set(id, [log]);
  }
  return by;
}
