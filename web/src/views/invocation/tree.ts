// Spans of a trace as a forest, whatever they look like: parents that are missing, cycles, several roots,
// clocks that disagree. Nothing is moved or hidden to make it fit: times are shown as they were told, and what
// is strange about a span is said at it. No recursion: a trace may be a chain of thousands.

import { millisecondsBetween, parseInstant, type Instant } from '../../lib/instant';

/** A span as `GET /v1/traces/{id}` gives it. */
export interface SpanData {
  span_id: string;
  parent_span_id: string | null;
  name: string;
  kind: string;
  start: string;
  duration_ms: number;
  status?: unknown;
  status_message?: unknown;
  attributes: Record<string, unknown>;
  events: Record<string, unknown>[];
}

/** Why a root is a root although it names a parent. */
export type Detached =
  /** The caller's span, which lies in another system. */
  | 'remote'
  /** The parent is not among the spans: lost, sampled out, or not ended yet. */
  | 'orphan'
  /** Its ancestors lead back to itself. */
  | 'cycle';

/** What a span is to the runner: decides its colour. */
export type Role = 'invocation' | 'validate' | 'attempt' | 'queue' | 'prepare' | 'execute' | 'call' | 'guest';

export interface Node {
  index: number;
  span: SpanData;
  parent: number;
  children: number[];
  depth: number;
  /** Milliseconds after the beginning of the trace. */
  start: number;
  end: number;
  /** What is not covered by children. */
  self: number;
  detached?: Detached;
  /** How far it reaches out of its parent, in milliseconds, if that is more than the clocks' noise. */
  early: number;
  late: number;
  role: Role;
  failed: boolean;
  /** The invocation that it belongs to, its own or that of its nearest ancestor. */
  invocation: string;
  plugin: string;
  /** How many spans lie below it. */
  below: number;
}

export interface Tree {
  nodes: Node[];
  roots: number[];
  byId: Map<string, number>;
  /** RFC 3339 time of the beginning, as the first span tells it. */
  begin: string;
  duration: number;
  depth: number;
  orphans: number;
  cycles: number;
}

/** Plugins run in other processes and note their times themselves: less than this is noise. */
export const SKEW_MS = 1;

export function buildTree(spans: readonly SpanData[]): Tree {
  const nodes = placed(spans);
  const byId = new Map<string, number>();
  for (const node of nodes) if (!byId.has(node.span.span_id)) byId.set(node.span.span_id, node.index);
  link(nodes, byId);
  const roots = cutCycles(nodes);
  const order = (a: number, b: number) => nodes[a]!.start - nodes[b]!.start || nodes[b]!.end - nodes[a]!.end || a - b;
  roots.sort(order);
  for (const node of nodes) node.children.sort(order);

  let depth = 0;
  const preorder = walk(nodes, roots);
  for (const index of preorder) {
    describe(nodes, index);
    depth = Math.max(depth, nodes[index]!.depth);
  }
  for (let at = preorder.length - 1; at >= 0; at--) {
    const node = nodes[preorder[at]!]!;
    if (node.parent >= 0) nodes[node.parent]!.below += node.below + 1;
  }
  const first = nodes.reduce<Node | null>((found, node) => (!found || node.start < found.start ? node : found), null);
  return {
    nodes,
    roots,
    byId,
    begin: first?.span.start ?? '',
    duration: nodes.reduce((most, node) => Math.max(most, node.end), 0),
    depth,
    orphans: nodes.filter((node) => node.detached === 'orphan').length,
    cycles: nodes.filter((node) => node.detached === 'cycle').length,
  };
}

function placed(spans: readonly SpanData[]): Node[] {
  const times = spans.map((span) => parseInstant(span.start));
  let base: Instant | null = null;
  for (const time of times) {
    if (time && (!base || time.seconds < base.seconds || (time.seconds === base.seconds && time.nanos < base.nanos))) base = time;
  }
  return spans.map((span, index) => {
    const time = times[index];
    const start = time && base ? millisecondsBetween(base, time) : 0;
    const length = Number.isFinite(span.duration_ms) ? Math.max(0, span.duration_ms) : 0;
    return {
      index,
      span,
      parent: -1,
      children: [],
      depth: 0,
      start,
      end: start + length,
      self: length,
      early: 0,
      late: 0,
      role: 'guest',
      failed: span.status === 'error',
      invocation: '',
      plugin: '',
      below: 0,
    };
  });
}

function link(nodes: Node[], byId: Map<string, number>): void {
  for (const node of nodes) {
    const id = node.span.parent_span_id;
    if (!id) continue;
    const parent = byId.get(id);
    if (parent === undefined) node.detached = node.span.kind === 'server' ? 'remote' : 'orphan';
    else node.parent = parent;
  }
}

/** Makes the earliest span of each cycle a root, fills `children`, and returns the roots. */
function cutCycles(nodes: Node[]): number[] {
  const NOW = 1;
  const DONE = 2;
  const seen = new Uint8Array(nodes.length);
  for (const { index } of nodes) {
    const path: number[] = [];
    let at = index;
    while (at >= 0 && !seen[at]) {
      seen[at] = NOW;
      path.push(at);
      at = nodes[at]!.parent;
    }
    if (at >= 0 && seen[at] === NOW) {
      const cycle = path.slice(path.indexOf(at));
      const earliest = cycle.reduce((a, b) => (nodes[b]!.start < nodes[a]!.start ? b : a));
      nodes[earliest]!.parent = -1;
      nodes[earliest]!.detached = 'cycle';
    }
    for (const done of path) seen[done] = DONE;
  }
  const roots: number[] = [];
  for (const node of nodes) {
    if (node.parent < 0) roots.push(node.index);
    else nodes[node.parent]!.children.push(node.index);
  }
  return roots;
}

/** Indexes in the order of a waterfall: each before what lies below it. */
function walk(nodes: Node[], roots: number[]): number[] {
  const out: number[] = [];
  const stack = [...roots].reverse();
  while (stack.length > 0) {
    const at = stack.pop()!;
    out.push(at);
    const children = nodes[at]!.children;
    for (let i = children.length - 1; i >= 0; i--) stack.push(children[i]!);
  }
  return out;
}

function describe(nodes: Node[], index: number): void {
  const node = nodes[index]!;
  const parent = node.parent >= 0 ? nodes[node.parent]! : null;
  const own = (key: string) => (typeof node.span.attributes[key] === 'string' ? (node.span.attributes[key] as string) : '');
  node.depth = parent ? parent.depth + 1 : 0;
  node.invocation = own('spanglass.invocation.id') || parent?.invocation || '';
  node.plugin = own('spanglass.plugin.name') || parent?.plugin || '';
  node.role = roleOf(node, parent);
  node.self = selfTime(node, node.children.map((child) => nodes[child]!));
  if (parent) {
    node.early = parent.start - node.start > SKEW_MS ? parent.start - node.start : 0;
    node.late = node.end - parent.end > SKEW_MS ? node.end - parent.end : 0;
  }
}

/** By place, not by name alone: a plugin may call its span `queue`. */
function roleOf(node: Node, parent: Node | null): Role {
  const { name, attributes } = node.span;
  if (name.startsWith('invoke ') && 'spanglass.action' in attributes) return 'invocation';
  switch (parent?.role) {
    case 'invocation':
      if (name === 'attempt') return 'attempt';
      if (name === 'validate_input' || name === 'validate_output') return 'validate';
      break;
    case 'attempt':
      if (name === 'queue' || name === 'prepare' || name === 'execute') return name;
      break;
    case 'prepare':
      return 'prepare';
  }
  return name.startsWith('call ') && 'spanglass.callee.plugin.name' in attributes ? 'call' : 'guest';
}

/** Its duration without what at least one child covers. */
function selfTime(node: Node, children: Node[]): number {
  let covered = 0;
  let reached = node.start;
  for (const child of children) {
    // Children are sorted by start.
    const from = Math.max(reached, child.start);
    const to = Math.min(node.end, child.end);
    if (to > from) {
      covered += to - from;
      reached = to;
    }
  }
  return Math.max(0, node.end - node.start - covered);
}
