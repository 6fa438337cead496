// The heatmap's cells: steps of time by buckets of duration. No drawing here.
import type { SeriesAnswer } from '../../api/model';

export interface Heat {
  /** Oldest first: from and to in seconds since 1970. */
  columns: { from: number; to: number }[];
  /** Shortest first: at least `min`, below `max`; null: no upper end. */
  rows: { min: number; max: number | null }[];
  /** `counts[column][row]` */
  counts: number[][];
  top: number;
  total: number;
}

/** Steps are put together so that there are at most `columnsMax`; buckets that nobody hit at either end are left out. */
export function heatOf(answer: SeriesAnswer, columnsMax: number): Heat | null {
  const heat = answer.series[0]?.heat;
  if (!heat?.length) return null;
  const group = Math.max(1, Math.ceil(answer.times.length / Math.max(1, columnsMax)));
  const columns: Heat['columns'] = [];
  const all: number[][] = [];
  for (let start = 0; start < answer.times.length; start += group) {
    const end = Math.min(answer.times.length, start + group);
    const sums = Array<number>(answer.buckets_ms.length + 1).fill(0);
    for (const step of heat.slice(start, end)) step.forEach((count, row) => (sums[row] = (sums[row] ?? 0) + count));
    const from = answer.times[start] ?? 0;
    columns.push({ from, to: (answer.times[end - 1] ?? from) + answer.step_s });
    all.push(sums);
  }
  const hit = (row: number) => all.some((sums) => (sums[row] ?? 0) > 0);
  const indexes = [...Array(answer.buckets_ms.length + 1).keys()];
  const first = indexes.find(hit);
  if (first === undefined) return null;
  const last = indexes.findLast(hit) ?? first;
  // One empty bucket around shows that there is nothing beyond, and a lone row is no line.
  const low = Math.max(0, first - 1);
  const high = Math.min(answer.buckets_ms.length, last + 1);
  const rows = indexes.slice(low, high + 1).map((row) => ({ min: row === 0 ? 0 : (answer.buckets_ms[row - 1] ?? 0), max: answer.buckets_ms[row] ?? null }));
  const counts = all.map((sums) => sums.slice(low, high + 1));
  return { columns, rows, counts, top: Math.max(1, ...counts.flat()), total: counts.flat().reduce((sum, count) => sum + count, 0) };
}

/** How strong a cell is, 0 to 1: the square root, so that one slow call among thousands of fast ones is seen. */
export function strength(count: number, top: number): number {
  return count === 0 ? 0 : 0.14 + 0.86 * Math.sqrt(count / top);
}

/**
 * The calls of a cell, as the list of invocations is asked. Calls are listed by their beginning and counted when they
 * end, so the range begins earlier by as much as they took.
 */
export function queryOf(heat: Heat, column: number, row: number): Record<string, string> {
  const time = heat.columns[column] ?? { from: 0, to: 0 };
  const bucket = heat.rows[row] ?? { min: 0, max: null };
  const longest = bucket.max ?? bucket.min * 4;
  return {
    since: new Date(time.from * 1000 - longest).toISOString(),
    until: new Date(time.to * 1000).toISOString(),
    min_ms: String(bucket.min),
    ...(bucket.max === null ? {} : { max_ms: String(bucket.max) }),
  };
}
