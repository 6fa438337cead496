// The critical path: which spans a caller was waiting for, at each moment.
//
// Definition, as Jaeger's trace view uses it: walk back from the end of the root. The span waits for the child
// that finished last; the time after that child's end is the span's own, the child's time is looked at in the
// same way, and the walk goes on at the child's start with the child that finished last before it. A child that
// was still running there did not hold anybody up, and is not on the path. What a child has outside its parent
// is cut off first: nobody in the parent can have waited for it. The pieces of one root cover it without gap
// and overlap, so that their lengths add up to its duration.

import type { Tree } from './tree';

export interface Section {
  from: number;
  to: number;
}

/** For each span on the path its pieces, latest first; spans not on it are absent. */
export function criticalPath(tree: Tree, root: number): Map<number, Section[]> {
  const path = new Map<number, Section[]>();
  const open: { index: number; from: number; to: number }[] = [];
  const top = tree.nodes[root];
  if (top) open.push({ index: root, from: top.start, to: top.end });

  while (open.length > 0) {
    const { index, from, to } = open.pop()!;
    const pieces: Section[] = [];
    let at = to;
    const children = tree.nodes[index]!.children
      .map((child) => tree.nodes[child]!)
      .filter((child) => child.start < to && child.end > from)
      .map((child) => ({ index: child.index, from: Math.max(from, child.start), to: Math.min(to, child.end) }))
      .sort((a, b) => b.to - a.to || b.from - a.from);
    for (const child of children) {
      if (child.to > at || child.to <= child.from) continue;
      if (at > child.to) pieces.push({ from: child.to, to: at });
      open.push(child);
      at = child.from;
    }
    if (at > from) pieces.push({ from, to: at });
    // A span that its children cover whole is on the way to them.
    path.set(index, pieces);
  }
  return path;
}

/** The path of every root: a trace can have several. */
export function criticalPaths(tree: Tree): Map<number, Section[]> {
  const all = new Map<number, Section[]>();
  for (const root of tree.roots) for (const [index, pieces] of criticalPath(tree, root)) all.set(index, pieces);
  return all;
}

export function sectionsLength(sections: readonly Section[]): number {
  return sections.reduce((sum, section) => sum + section.to - section.from, 0);
}
