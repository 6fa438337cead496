// What a replay shows side by side: differences of the outputs, and where the time went.

import type { Tree } from './tree';

export interface Change {
  op: 'added' | 'removed' | 'changed';
  pointer: string;
  old?: unknown;
  new?: unknown;
  truncated?: boolean;
}

export interface ChangeRow {
  op: Change['op'];
  pointer: string;
  old: string | null;
  new: string | null;
  truncated: boolean;
}

/** Changes as text; null where there is no value on that side. */
export function changeRows(changes: readonly Change[]): ChangeRow[] {
  return changes.map((change) => ({
    op: change.op,
    pointer: change.pointer === '' ? '(whole)' : change.pointer,
    old: change.op === 'added' ? null : written(change.old, change.truncated),
    new: change.op === 'removed' ? null : written(change.new, change.truncated),
    truncated: change.truncated === true,
  }));
}

function written(value: unknown, truncated: boolean | undefined): string {
  // A value that was cut is given as the beginning of its JSON, not as a string of its own.
  if (truncated && typeof value === 'string') return value + '\u2026';
  return value === undefined ? 'null' : JSON.stringify(value);
}

export interface Step {
  /** Names from the invocation's root downwards, without it. */
  path: string[];
  count: number;
  ms: number;
}

/** Time by step of one invocation within a trace: spans with the same names on the way to them are added up.
 * Deeper than `depth` nothing is told apart. */
export function steps(tree: Tree, rootSpan: string, depth = 4): Step[] {
  const root = tree.nodes[tree.byId.get(rootSpan) ?? -1];
  if (!root) return [];
  const found = new Map<string, Step>();
  const stack = root.children.map((index) => ({ index, path: [] as string[] })).reverse();
  while (stack.length > 0) {
    const { index, path } = stack.pop()!;
    const node = tree.nodes[index]!;
    const here = [...path, node.span.name];
    const key = here.join('\u0000');
    const step = found.get(key) ?? { path: here, count: 0, ms: 0 };
    step.count++;
    step.ms += node.end - node.start;
    found.set(key, step);
    if (here.length < depth) for (let i = node.children.length - 1; i >= 0; i--) stack.push({ index: node.children[i]!, path: here });
  }
  return [...found.values()];
}

export interface StepRow {
  path: string[];
  before: Step | null;
  after: Step | null;
}

/** Steps of both calls in one list: in the order of the first, what only the second has behind its sibling. */
export function alignSteps(before: readonly Step[], after: readonly Step[]): StepRow[] {
  const key = (step: Step) => step.path.join('\u0000');
  const second = new Map(after.map((step) => [key(step), step]));
  const rows: StepRow[] = before.map((step) => ({ path: step.path, before: step, after: second.get(key(step)) ?? null }));
  const first = new Set(before.map(key));
  after.forEach((step, at) => {
    if (first.has(key(step))) return;
    const previous = after[at - 1];
    let place = previous ? rows.findIndex((row) => row.after === previous) + 1 : 0;
    // What lies below an earlier step stays with it.
    while ((rows[place]?.path.length ?? 0) > step.path.length) place++;
    rows.splice(place, 0, { path: step.path, before: null, after: step });
  });
  return rows;
}
