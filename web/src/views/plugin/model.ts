// From what the server answers to what the charts show. No components here.
import type { Plugin, Series, SeriesAnswer } from '../../api/model';
import { bytes, duration, rate, ratio } from '../../lib/format';
import type { ChartSpec, Line, Marker } from '../../parts/Chart';

/** The last step is not over: its rate is that of the part that is, unless that is so short that it says nothing. */
export function widths(answer: SeriesAnswer): number[] {
  const until = Date.parse(answer.until) / 1000;
  return answer.times.map((time) => Math.min(answer.step_s, Math.max(0, until - time)));
}

function steps(answer: SeriesAnswer): number {
  const width = widths(answer).at(-1) ?? 0;
  return answer.times.length - (answer.times.length > 1 && width < answer.step_s * 0.3 ? 1 : 0);
}

/** Nothing is known from before `complete_from`: that is a gap, not a zero. */
function known(answer: SeriesAnswer): (index: number) => boolean {
  const from = answer.complete_from ? Date.parse(answer.complete_from) / 1000 - answer.step_s : -Infinity;
  return (index) => (answer.times[index] ?? 0) >= from;
}

export function errorRatio(series: Series, index: number): number | null {
  const counted = (series.calls[index] ?? 0) - (series.refused[index] ?? 0) - (series.dropped[index] ?? 0);
  return counted > 0 ? (series.errors[index] ?? 0) / counted : null;
}

export interface Specs {
  rate: ChartSpec;
  errors: ChartSpec;
  latency: ChartSpec;
  cpu: ChartSpec;
  memory: ChartSpec;
}

/**
 * The server answers with the finest step that gives at most 400. In a few minutes that is a second, in which most
 * plugins have one call or none: a ratio of errors is then all or nothing.
 */
export function stepOf(sinceMs: number, untilMs: number): string | undefined {
  const seconds = (untilMs - sinceMs) / 1000;
  return seconds >= 180 && seconds <= 400 ? '10s' : undefined;
}

/** Versions keep their colours while they come and go: by their place among all that are known. */
export function colourOf(version: string | null, versions: (string | null)[]): number {
  return version === null ? 6 : (Math.max(0, versions.indexOf(version)) % 5) + 1;
}

/** `versions`: all that are known, oldest first. */
export function specsOf(byVersion: SeriesAnswer, sum: SeriesAnswer, versions: string[], markers: Marker[], onRange: (from: number, to: number) => void): Specs {
  const chart = (answer: SeriesAnswer, format: (value: number) => string, lines: [string, number, (index: number) => number | null, Partial<Line>?][], what: string, topMin?: number): ChartSpec => {
    const length = steps(answer);
    const is = known(answer);
    const made = lines.map(([label, colour, value, more]): Line => {
      const values = Array.from({ length }, (_, index) => (is(index) ? value(index) : null));
      const last = values.slice(-NOW_STEPS).findLast((one) => one !== null);
      return { label, colour, values, now: last === undefined || last === null ? '–' : format(last), ...more };
    });
    return {
      range: [Date.parse(answer.from) / 1000, Date.parse(answer.until) / 1000], times: answer.times.slice(0, length), lines: made, markers, format, onRange, ...(topMin === undefined ? {} : { topMin }),
      summary: `${what}. Now: ${made.map((line) => `${line.label} ${line.now}`).join(', ') || 'nothing'}`,
    };
  };
  const width = widths(byVersion);
  // Some may be gone and still have calls in the range.
  const names = [...versions, ...byVersion.series.flatMap((one) => (one.version && !versions.includes(one.version) ? [one.version] : []))];
  const several = byVersion.series.length > 1;
  const label = (one: Series) => one.version ?? 'no version';
  const total = sum.series[0];
  const sumWidth = widths(sum);
  return {
    rate: chart(byVersion, rate, byVersion.series.map((one) => [label(one), colourOf(one.version, names), (i) => (one.calls[i] ?? 0) / Math.max(1, width[i] ?? 1), several ? {} : { fill: true }]), 'Calls a second'),
    errors: chart(byVersion, ratio, byVersion.series.map((one) => [label(one), colourOf(one.version, names), (i) => errorRatio(one, i), several ? {} : { fill: true }]), 'Share of calls that failed', 0.05),
    latency: { ...chart(sum, duration, total ? [['p50', 1, (i) => total.p50_ms[i] ?? null], ['p95', 2, (i) => total.p95_ms[i] ?? null], ['p99', 4, (i) => total.p99_ms[i] ?? null, { dash: true }]] : [], 'Durations'), log: true },
    cpu: chart(sum, ratio, total ? [['of one core', 3, (i) => (total.cpu_ms[i] ?? 0) / 1000 / Math.max(1, sumWidth[i] ?? 1), { fill: true }]] : [], 'CPU time', 0.01),
    memory: { ...chart(sum, bytes, total ? [['peak of a call', 5, (i) => total.memory_peak_bytes[i] || null]] : [], 'Memory'), binary: true },
  };
}

/** A value that is older than so many steps is not how it is now. */
const NOW_STEPS = 6;

type Change = NonNullable<Plugin['history']>[number];

/** One step a person takes is several transitions in the same moment: they are one mark, named by where they lead. */
const SAME_MOMENT_MS = 1500;

export function markersOf(history: Change[]): Marker[] {
  const marks: { at: number; version: string; first: Change; last: Change }[] = [];
  for (const change of [...history].reverse()) {
    const at = Date.parse(change.at);
    const before = marks.findLast((mark) => mark.version === change.version);
    if (before && at - Date.parse(before.last.at) <= SAME_MOMENT_MS) before.last = change;
    else marks.push({ at, version: change.version, first: change, last: change });
  }
  return marks.map(({ at, version, first, last }) => {
    const label = said(first, last);
    const why = [label === last.cause ? null : last.cause, last.reason ?? first.reason].filter(Boolean).join('; ');
    return { at: at / 1000, label: `${version} ${label}`, detail: [last.by && `by ${last.by}`, why].filter(Boolean).join(': '), bad: last.to === 'failed' };
  });
}

export function said(first: Change, last: Change): string {
  if (last.to === 'failed') return 'failed';
  // Nothing changed but who gets the calls: `rolled back to 1.0.0`.
  if (last.from === last.to && last.cause) return last.cause;
  if (last.to === 'destroyed') return 'removed';
  if (first.from === 'initialized') return 'registered';
  if (last.to === 'running') return 'enabled';
  if (last.to === 'registered') return 'disabled';
  return last.to;
}
