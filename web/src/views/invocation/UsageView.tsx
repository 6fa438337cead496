// What the call took, and where its time went.

import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import type { Invocation } from '../../api/model';
import { bytes, duration, exact, ratio } from '../../lib/format';
import { plainLine } from '../../lib/plain';
import { criticalPath, sectionsLength } from './critical';
import type { Tree } from './tree';

export function UsageView({ call, tree }: { call: Invocation | null; tree: Tree | null }): JSX.Element {
  const rows = useMemo(() => (tree ? byName(tree) : []), [tree]);
  const most = Math.max(...rows.map((row) => row.self), 0.000001);
  return (
    <div class="usage">
      {call?.usage && (
        <dl class="call-facts card">
          <div>
            <dt>CPU time</dt>
            <dd>{duration(call.usage.cpu_ms)}</dd>
          </div>
          <div>
            <dt>CPU of the duration</dt>
            <dd>{call.usage.cpu_ms !== undefined && call.duration_ms ? ratio(call.usage.cpu_ms / call.duration_ms) : '–'}</dd>
          </div>
          <div>
            <dt>Memory, peak of the instance</dt>
            <dd>{bytes(call.usage.memory_peak_bytes)}</dd>
          </div>
          <div>
            <dt>Input</dt>
            <dd>{exact(call.usage.input_bytes)} bytes</dd>
          </div>
          <div>
            <dt>Output</dt>
            <dd>{exact(call.usage.output_bytes)} bytes</dd>
          </div>
          <div>
            <dt>Waited for an instance</dt>
            <dd>{duration(call.queue_ms)}</dd>
          </div>
          <div>
            <dt>Prepared an instance</dt>
            <dd>{duration(call.prepare_ms)}</dd>
          </div>
        </dl>
      )}
      {rows.length > 0 && (
        <div class="table-box" tabIndex={0} role="group" aria-label="Table">
          <table class="table">
            <caption class="off-screen">Time by name of span</caption>
            <thead>
              <tr>
                <th>Span</th>
                <th class="number">Count</th>
                <th class="number">Total</th>
                <th class="number">Self</th>
                <th class="number">Critical path</th>
                <th aria-hidden="true" />
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.name}>
                  <td>{plainLine(row.name)}</td>
                  <td class="number">{exact(row.count)}</td>
                  <td class="number">{duration(row.total)}</td>
                  <td class="number">{duration(row.self)}</td>
                  <td class="number">{row.path > 0 ? duration(row.path) : '–'}</td>
                  <td class="share" aria-hidden="true">
                    <i style={{ width: `${(row.self / most) * 100}%` }} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

const NAMES_MAX = 100;

/** Time by name, the one with most of its own first. */
function byName(tree: Tree): { name: string; count: number; total: number; self: number; path: number }[] {
  const found = new Map<string, { name: string; count: number; total: number; self: number; path: number }>();
  const critical = tree.roots.map((root) => criticalPath(tree, root));
  for (const node of tree.nodes) {
    const { name } = node.span;
    const row = found.get(name) ?? { name, count: 0, total: 0, self: 0, path: 0 };
    row.count++;
    row.total += node.end - node.start;
    row.self += node.self;
    for (const path of critical) row.path += sectionsLength(path.get(node.index) ?? []);
    found.set(name, row);
  }
  return [...found.values()].sort((a, b) => b.self - a.self).slice(0, NAMES_MAX);
}
