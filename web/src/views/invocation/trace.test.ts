import { describe, expect, test } from 'vitest';
import { buildTree, type SpanData } from './tree';
import { criticalPath, criticalPaths, sectionsLength } from './critical';
import { collapsedTo, logsBySpan, opened, rowsOf } from './rows';
import { place, tickLabel, ticks, zoomed } from './scale';
import { shiftInstant } from '../../lib/instant';

const BEGIN = '2026-11-28T06:38:00.000000000Z';

/** `id`, parent, start and end in milliseconds. */
function span(id: string, parent: string | null, start: number, end: number, more: Partial<SpanData> = {}): SpanData {
  return {
    span_id: id,
    parent_span_id: parent,
    name: id,
    kind: 'internal',
    start: shiftInstant(BEGIN, start),
    duration_ms: end - start,
    status: 'unset',
    attributes: {},
    events: [],
    ...more,
  };
}

const ids = (tree: ReturnType<typeof buildTree>, indexes: readonly number[]) => indexes.map((index) => tree.nodes[index]!.span.span_id);

describe('the tree', () => {
  test('stands in order of start, whatever the order of the spans', () => {
    const tree = buildTree([span('c', 'a', 5, 6), span('b', 'a', 1, 4), span('a', null, 0, 10), span('d', 'b', 2, 3)]);
    expect(ids(tree, tree.roots)).toEqual(['a']);
    expect(rowsOf(tree, { collapsed: new Set() }).rows.map((row) => [row.node.span.span_id, row.node.depth])).toEqual([
      ['a', 0],
      ['b', 1],
      ['d', 2],
      ['c', 1],
    ]);
    expect(tree.nodes.map((node) => [node.span.span_id, node.self, node.below])).toEqual([
      ['c', 1, 0],
      ['b', 2, 1],
      ['a', 6, 3],
      ['d', 1, 0],
    ]);
    expect([tree.duration, tree.depth, tree.begin]).toEqual([10, 2, BEGIN]);
  });
  test('counts what several children cover once, and nothing outside', () => {
    const tree = buildTree([span('a', null, 0, 10), span('b', 'a', 1, 6), span('c', 'a', 3, 5.5), span('d', 'a', 6.5, 7), span('e', 'a', 9, 20)]);
    expect(tree.nodes[0]!.self).toBeCloseTo(3.5, 9);
  });
  test('tells a parent elsewhere from one that is missing', () => {
    const tree = buildTree([span('a', 'caller', 0, 10, { kind: 'server' }), span('b', 'lost', 2, 3), span('c', 'b', 2, 3)]);
    expect(ids(tree, tree.roots)).toEqual(['a', 'b']);
    expect(tree.nodes.map((node) => node.detached)).toEqual(['remote', 'orphan', undefined]);
    expect(tree.orphans).toBe(1);
  });
  test('cuts cycles at their earliest span', () => {
    const tree = buildTree([span('a', 'c', 3, 4), span('b', 'a', 1, 9), span('c', 'b', 2, 5), span('x', 'c', 2, 3), span('self', 'self', 0, 1)]);
    expect(ids(tree, tree.roots)).toEqual(['self', 'b']);
    expect(tree.cycles).toBe(2);
    expect(rowsOf(tree, { collapsed: new Set() }).rows).toHaveLength(5);
  });
  test('keeps both of two spans with the same id', () => {
    const tree = buildTree([span('a', null, 0, 10), span('a', null, 1, 2), span('b', 'a', 3, 4)]);
    expect(tree.nodes).toHaveLength(3);
    expect(ids(tree, tree.nodes[0]!.children)).toEqual(['b']);
  });
  test('says how far a span reaches out of its parent, but not for the noise of clocks', () => {
    const tree = buildTree([span('a', null, 10, 20), span('b', 'a', 4, 25), span('c', 'a', 9.5, 12)]);
    expect(tree.nodes[1]).toMatchObject({ early: 6, late: 5 });
    expect(tree.nodes[2]).toMatchObject({ early: 0, late: 0 });
    // The axis begins with what began first.
    expect(tree.nodes[1]!.start).toBe(0);
    expect(tree.nodes[0]!.self).toBe(0);
  });
  test('knows steps by their place, not by their name alone', () => {
    const root = { name: 'invoke p', attributes: { 'spanglass.action': 'invoke', 'spanglass.plugin.name': 'p', 'spanglass.invocation.id': 'i' } };
    const tree = buildTree([
      span('r', null, 0, 10, root),
      span('t', 'r', 1, 9, { name: 'attempt' }),
      span('q', 't', 1, 2, { name: 'queue' }),
      span('p', 't', 2, 3, { name: 'prepare' }),
      span('s', 'p', 2, 3, { name: 'on_start' }),
      span('e', 't', 3, 9, { name: 'execute' }),
      span('g', 'e', 3, 4, { name: 'queue' }),
      span('k', 'e', 4, 5, { name: 'call other', attributes: { 'spanglass.callee.plugin.name': 'other' } }),
      span('i', 'k', 4, 5, { ...root, name: 'invoke other', attributes: { ...root.attributes, 'spanglass.plugin.name': 'other', 'spanglass.invocation.id': 'j' } }),
      span('v', 'i', 4, 5, { name: 'validate_input' }),
    ]);
    expect(tree.nodes.map((node) => node.role)).toEqual(['invocation', 'attempt', 'queue', 'prepare', 'prepare', 'execute', 'guest', 'call', 'invocation', 'validate']);
    expect(tree.nodes.map((node) => node.plugin).slice(-3)).toEqual(['p', 'other', 'other']);
    expect(tree.nodes[9]!.invocation).toBe('j');
  });
  test('is quick and deep enough for 10,000 spans in a chain', () => {
    const chain = Array.from({ length: 10_000 }, (_, index) => span(`s${index}`, index === 0 ? null : `s${index - 1}`, index / 100, 200 - index / 100));
    const begin = performance.now();
    const tree = buildTree(chain);
    const path = criticalPaths(tree);
    const { rows } = rowsOf(tree, { collapsed: new Set(), shorterThanMs: 0.001 });
    expect([tree.depth, path.size, rows.length]).toEqual([9999, 10_000, 10_000]);
    expect(performance.now() - begin).toBeLessThan(1500);
  });
  test('of nothing is nothing', () => {
    const tree = buildTree([]);
    expect([tree.roots, tree.duration, rowsOf(tree, { collapsed: new Set() }).rows]).toEqual([[], 0, []]);
  });
});

describe('the critical path', () => {
  const named = (tree: ReturnType<typeof buildTree>) =>
    Object.fromEntries([...criticalPath(tree, tree.roots[0]!)].map(([index, pieces]) => [tree.nodes[index]!.span.span_id, pieces.map(({ from, to }) => [from, to])]));

  test('walks back through the children that finished last', () => {
    const tree = buildTree([span('a', null, 0, 100), span('b', 'a', 10, 40), span('c', 'a', 50, 90), span('d', 'c', 60, 80)]);
    expect(named(tree)).toEqual({
      a: [
        [90, 100],
        [40, 50],
        [0, 10],
      ],
      c: [
        [80, 90],
        [50, 60],
      ],
      d: [[60, 80]],
      b: [[10, 40]],
    });
  });
  test('passes over a child that was still running where another had begun', () => {
    const tree = buildTree([span('a', null, 0, 100), span('b', 'a', 10, 60), span('c', 'a', 50, 90)]);
    expect(named(tree)).toEqual({ a: [[90, 100], [0, 50]], c: [[50, 90]] });
  });
  test('cuts off what a child has outside its parent', () => {
    const tree = buildTree([span('a', null, 0, 100), span('b', 'a', 80, 140), span('c', 'a', 120, 130), span('d', 'b', 90, 135)]);
    expect(named(tree)).toEqual({ a: [[0, 80]], b: [[80, 90]], d: [[90, 100]] });
  });
  test('covers the root without gap and overlap, for any trace', () => {
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    for (let round = 0; round < 200; round++) {
      const spans = [span('s0', null, 0, 1000)];
      for (let i = 1; i < 30; i++) {
        const start = Math.round(random() * 1100) - 50;
        spans.push(span(`s${i}`, `s${Math.floor(random() * i)}`, start, start + Math.round(random() * 400)));
      }
      const tree = buildTree(spans);
      const root = tree.nodes[0]!;
      const pieces = [...criticalPath(tree, 0).values()].flat().sort((a, b) => a.from - b.from);
      expect(sectionsLength(pieces)).toBeCloseTo(1000, 6);
      pieces.forEach((piece, index) => expect(piece.from).toBeCloseTo(index === 0 ? root.start : pieces[index - 1]!.to, 6));
    }
  });
});

describe('rows', () => {
  const spans = [span('a', null, 0, 100), span('b', 'a', 0, 2), span('c', 'b', 0, 1, { status: 'error' }), span('d', 'a', 10, 90), span('e', 'd', 20, 21)];
  const shown = (more: Parameters<typeof rowsOf>[1]) => {
    const { rows, hidden } = rowsOf(buildTree(spans), more);
    return [rows.map((row) => (row.type === 'span' ? row.node.span.span_id : row.log.body)), hidden];
  };
  test('leave out what is collapsed', () => {
    expect(shown({ collapsed: new Set(['d']) })).toEqual([['a', 'b', 'c', 'd'], 0]);
    expect(shown({ collapsed: collapsedTo(buildTree(spans), 1) })).toEqual([['a', 'b', 'd'], 0]);
    expect(shown({ collapsed: collapsedTo(buildTree(spans), 0) })).toEqual([['a'], 0]);
  });
  test('leave out what is short, but no error, and nothing on the way to what stays', () => {
    expect(shown({ collapsed: new Set(), shorterThanMs: 5 })).toEqual([['a', 'b', 'c', 'd'], 1]);
    expect(shown({ collapsed: new Set(), shorterThanMs: 5000 })).toEqual([['a', 'b', 'c'], 2]);
  });
  test('keep what holds a text, with what it lies in', () => {
    expect(shown({ collapsed: new Set(), text: 'E' })).toEqual([['a', 'd', 'e'], 2]);
    expect(shown({ collapsed: new Set(), text: 'nowhere' })).toEqual([[], 5]);
  });
  test('open what hides a span', () => {
    const tree = buildTree(spans);
    expect([...opened(tree, collapsedTo(tree, 0), 'e')].sort()).toEqual(['b']);
  });
  test('carry lines at their span; lines of no span at the root', () => {
    const line = (body: string, span_id?: string) => ({ timestamp: BEGIN, severity_text: 'INFO', body, ...(span_id ? { span_id } : {}) });
    const logs = logsBySpan(buildTree(spans), [line('one', 'd'), line('two'), line('three', 'unknown')]);
    expect(shown({ collapsed: new Set(['d']), logs })).toEqual([['a', 'two', 'three', 'b', 'c', 'd', 'one'], 0]);
  });
});

describe('the axis', () => {
  test('has round ticks, never more than asked for', () => {
    expect(ticks({ from: 0, to: 10 }, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks({ from: 3.2, to: 4.1 }, 5)).toEqual([3.2, 3.4000000000000004, 3.6, 3.8000000000000003, 4]);
    expect(ticks({ from: 0, to: 0 }, 5)).toEqual([]);
    for (let to = 0.00001; to < 1e8; to *= 3.7) {
      const found = ticks({ from: 0, to }, 6);
      expect(found.length).toBeGreaterThan(1);
      expect(found.length).toBeLessThan(8);
    }
  });
  test('writes them in a unit that suits', () => {
    expect([tickLabel(0, 1), tickLabel(0.25, 0.05), tickLabel(2, 0.5), tickLabel(1500, 500), tickLabel(120_000, 60_000)]).toEqual([
      '0',
      '250\u202f\u00b5s',
      '2.0\u202fms',
      '1.5\u202fs',
      '2\u202fmin',
    ]);
  });
  test('places pieces, cut at the edges', () => {
    expect(place({ from: 0, to: 100 }, 25, 75)).toEqual({ left: 25, width: 50 });
    expect(place({ from: 50, to: 100 }, 25, 75)).toEqual({ left: 0, width: 50 });
    expect(place({ from: 50, to: 100 }, 0, 40)).toBeNull();
    expect(place({ from: 0, to: 0 }, 0, 0)).toBeNull();
  });
  test('zooms within the trace only', () => {
    expect(zoomed({ from: 0, to: 100 }, { from: 80, to: -20 })).toEqual({ from: 0, to: 80 });
    expect(zoomed({ from: 0, to: 100 }, { from: 30, to: 30 })).toEqual({ from: 0, to: 100 });
  });
});
