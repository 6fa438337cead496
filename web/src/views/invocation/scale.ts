// The time axis of the waterfall.

export interface Range {
  from: number;
  to: number;
}

/** Round times within a range: multiples of 1, 2 or 5 times a power of ten, at most `most` of them. */
export function ticks({ from, to }: Range, most: number): number[] {
  const length = to - from;
  if (!(length > 0) || most < 1) return [];
  const rough = length / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => length / candidate <= most) ?? power * 10;
  const first = Math.ceil(from / step - 1e-9);
  const out: number[] = [];
  // Counted, not added up: a sum of steps drifts.
  for (let i = first; i * step <= to + step * 1e-9 && out.length <= most; i++) out.push(i * step + 0);
  return out;
}

/** Place of a piece within the range, in per cent; null if it lies outside. A piece of no length keeps its place. */
export function place(range: Range, from: number, to: number): { left: number; width: number } | null {
  const length = range.to - range.from;
  if (!(length > 0) || to < range.from || from > range.to) return null;
  const left = ((Math.max(from, range.from) - range.from) / length) * 100;
  const right = ((Math.min(to, range.to) - range.from) / length) * 100;
  return { left, width: Math.max(0, right - left) };
}

const UNITS: [number, string, number][] = [
  [60_000, 'min', 60_000],
  [1000, 's', 1000],
  [1, 'ms', 1],
  [0.001, '\u00b5s', 0.001],
];

/** A time on the axis, in a unit that suits the step: as many digits as tell neighbours apart. */
export function tickLabel(at: number, step: number): string {
  if (at === 0) return '0';
  const [, unit, size] = UNITS.find(([from]) => Math.abs(at) >= from) ?? UNITS[UNITS.length - 1]!;
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9)));
  return (at / size).toFixed(digits) + '\u202f' + unit;
}

/** The part of the trace to show: within it, and never so short that nothing can be seen. */
export function zoomed(whole: Range, wanted: Range): Range {
  const least = Math.max((whole.to - whole.from) / 1e6, 1e-6);
  const from = Math.max(whole.from, Math.min(wanted.from, wanted.to));
  const to = Math.min(whole.to, Math.max(wanted.from, wanted.to));
  return to - from < least ? whole : { from, to };
}
