// From what the server answers to what the view shows. No components here.
import type { Baseline, DriftBin, DriftField, DriftOverview, DriftPoint, DriftState, VersionDrift } from '../../api/model';
import { exact, plural } from '../../lib/format';
import { cutLine } from '../../lib/plain';
import type { ChartSpec } from '../../parts/Chart';

const NONE = '–';

/** Field names and labels of bins come from schemas and values. */
export const NAME_MOST = 80;
export const LABEL_MOST = 48;
const TITLE_MOST = 400;
/** Beyond so many categories the small ones are folded. */
export const CATEGORIES_MOST = 16;
/** So many drifting fields are open at first: each is a table and a chart. */
export const OPEN_MOST = 6;
/** More rows of quiet fields than this are folded while something drifts. */
export const QUIET_MOST = 8;

export const name = (field: string): string => cutLine(field, NAME_MOST);
/** For `title`: what `name` has cut away, still bounded. */
export const longName = (field: string): string => cutLine(field, TITLE_MOST);

/** PSI and Jensen-Shannon distance: two significant digits below 1. */
export function score(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value >= 0.995) return value.toFixed(2);
  return value !== 0 && value < 0.0001 ? '<0.0001' : String(Number(value.toPrecision(2)));
}

/** `0.031`, `3e-10`: below a thousandth only the order matters. */
export function pvalue(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return '<1e-300';
  return value < 0.001 ? value.toExponential(0) : String(Number(value.toPrecision(2)));
}

const RANK: Record<DriftState, number> = { alert: 0, warn: 1, insufficient: 2, ok: 3 };

/** Worst first; among equals as the server has them, so that rows do not jump. */
export function worstFirst<T extends { state: DriftState }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => RANK[a.state] - RANK[b.state]);
}

export function countsOf(items: readonly { state: DriftState }[]): Record<DriftState, number> {
  const counts = { alert: 0, warn: 0, insufficient: 0, ok: 0 };
  for (const { state } of items) counts[state] += 1;
  return counts;
}

export interface Groups {
  drifting: DriftField[];
  insufficient: DriftField[];
  quiet: DriftField[];
}

export function groupsOf(fields: readonly DriftField[], { q = '', state }: { q?: string | undefined; state?: string | undefined }): Groups {
  const wanted = q.toLowerCase();
  const fits = worstFirst(fields.filter((one) => (!state || one.state === state) && one.field.toLowerCase().includes(wanted)));
  return {
    drifting: fits.filter((one) => one.state === 'alert' || one.state === 'warn'),
    insufficient: fits.filter((one) => one.state === 'insufficient'),
    quiet: fits.filter((one) => one.state === 'ok'),
  };
}

export function matchesVersion(one: DriftOverview, { q = '', state }: { q?: string | undefined; state?: string | undefined }): boolean {
  const wanted = q.toLowerCase();
  return (!state || one.state === state) && [`${one.plugin} ${one.version}`, ...one.drifting].some((text) => text.toLowerCase().includes(wanted));
}

/** How many values a field lacks before it can be judged: a number to wait for, where a score would be made up. */
export function missing(field: Pick<DriftField, 'state' | 'samples' | 'baseline_samples'> & { reason?: string | null }, settings: VersionDrift['settings'], drift: Pick<VersionDrift, 'phase' | 'capture'>): string | null {
  if (field.state !== 'insufficient') return null;
  if (drift.phase === 'waiting') return 'there is no baseline yet';
  if (drift.phase === 'capturing') {
    const left = drift.capture ? Math.max(0, drift.capture.wanted - drift.capture.calls) : null;
    return left === null ? 'its baseline is being captured' : `its baseline needs ${plural(left, 'more call')}`;
  }
  const baseline = settings.min_samples - field.baseline_samples;
  if (baseline > 0) return `its baseline has ${plural(field.baseline_samples, 'value')}, ${exact(settings.min_samples)} are needed: pin another`;
  const left = settings.min_samples - field.samples;
  return left > 0 ? `${plural(left, 'more value')} needed, ${exact(field.samples)} of ${exact(settings.min_samples)} are there` : field.reason ?? 'it is judged at the next step';
}

const isSpecial = ({ kind }: Pick<DriftBin, 'kind'>): boolean => kind === 'other' || kind === 'null' || kind === 'invalid';

/** A category may be named like one of the special bins: those are told apart by how they look. */
export function labelOf(bin: Pick<DriftBin, 'kind' | 'label'>): { text: string; special: boolean } {
  const text = cutLine(bin.label, LABEL_MOST);
  // What cannot be seen at an edge is put between quotes.
  return { text: text === '' ? '(empty text)' : text.trim() === text ? text : `"${text}"`, special: isSpecial(bin) };
}

export interface ShownBins {
  bins: DriftBin[];
  /** Categories that are not shown, together. */
  rest: { count: number; baseline: number; current: number } | null;
}

/** Special bins with nothing in them say nothing; of many categories the largest and those that grew are shown. */
export function shownBins(bins: readonly DriftBin[], all: boolean): ShownBins {
  const some = bins.filter((bin) => !isSpecial(bin) || bin.baseline_count > 0 || bin.current_count > 0);
  const categories = some.filter((bin) => bin.kind === 'category');
  if (all || categories.length <= CATEGORIES_MOST) return { bins: some, rest: null };
  const size = (bin: DriftBin) => Math.max(bin.baseline, bin.current) + (bin.grew ? 2 : 0);
  const kept = new Set([...categories].sort((a, b) => size(b) - size(a)).slice(0, CATEGORIES_MOST));
  const folded = categories.filter((bin) => !kept.has(bin));
  const sum = (of: (bin: DriftBin) => number) => folded.reduce((total, bin) => total + of(bin), 0);
  return { bins: some.filter((bin) => bin.kind !== 'category' || kept.has(bin)), rest: { count: folded.length, baseline: sum((bin) => bin.baseline), current: sum((bin) => bin.current) } };
}

/** The largest share has the whole width. */
export function scaleOf(bins: readonly Pick<DriftBin, 'baseline' | 'current'>[], known: boolean): number {
  return Math.max(0.01, ...bins.map((bin) => Math.max(bin.baseline, known ? bin.current : 0)));
}

export interface Trend {
  /** Paths in a box of `WIDTH` by `HEIGHT`; what is not known is a gap. */
  line: string;
  /** Where the threshold lies. */
  threshold: number;
  said: string;
}

export const WIDTH = 120;
export const HEIGHT = 28;

/** The PSI over the last steps; a picture for the shape, with its numbers in words. */
export function trendOf(history: readonly DriftPoint[], threshold: number): Trend {
  const values = history.map((point) => point.effect);
  const known = values.filter((value): value is number => value !== null && Number.isFinite(value));
  const top = Math.max(threshold * 1.6, ...known);
  const step = WIDTH / Math.max(1, values.length - 1);
  const y = (value: number) => Number((HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1));
  let line = '';
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null || !Number.isFinite(value)) return void (drawing = false);
    const x = (index * step).toFixed(1);
    // A point between gaps would have no line: it gets a short one.
    line += drawing ? `L${x} ${y(value)}` : `M${x} ${y(value)}h0.01`;
    drawing = true;
  });
  return { line, threshold: y(threshold), said: trendSaid(values, known, threshold) };
}

function trendSaid(values: readonly (number | null)[], known: readonly number[], threshold: number): string {
  if (known.length === 0) return 'PSI: not known yet';
  const over = known.filter((value) => value >= threshold).length;
  return `PSI over ${plural(values.length, 'step')}: now ${score(values.at(-1))}, highest ${score(Math.max(...known))}, at least ${score(threshold)} in ${exact(over)}`;
}

/** The same as a chart with times, if anything is known. A clock that was set back leaves out what would run backwards. */
export function chartOf(history: readonly DriftPoint[], threshold: number): ChartSpec | null {
  const times: number[] = [];
  const values: (number | null)[] = [];
  for (const point of history) {
    const time = Date.parse(point.at) / 1000;
    if (!Number.isFinite(time) || time <= (times.at(-1) ?? -Infinity)) continue;
    times.push(time);
    values.push(point.effect);
  }
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined || values.every((value) => value === null)) return null;
  return {
    times,
    range: last > first ? [first, last] : [first - 30, first + 30],
    lines: [
      { label: 'PSI', colour: 1, values, now: score(values.at(-1)), fill: true },
      { label: 'bound', colour: 7, values: times.map(() => threshold), now: score(threshold), dash: true },
    ],
    format: (value) => (value === 0 ? '0' : score(value)),
    topMin: threshold * 1.6,
    summary: trendOf(history, threshold).said,
  };
}

export const shortId = (id: string): string => id.replace('sha256:', '').slice(0, 12);

const SOURCES: Record<string, string> = { first_calls: 'the first calls', file: 'a file', window: 'a window' };

export const sourceOf = (source: string): string => SOURCES[source] ?? cutLine(source, LABEL_MOST);

/** Why the window cannot become the baseline now; null: it can. */
export function pinBlocked(drift: Pick<VersionDrift, 'phase' | 'long_window' | 'settings'>): string | null {
  if (drift.phase === 'waiting') return 'Without a baseline there are no bins to count in. Pin one from a file first.';
  if (drift.phase === 'capturing') return 'The baseline is being captured from its first calls.';
  const left = drift.settings.min_samples - drift.long_window.calls;
  return left > 0 ? `The window has ${plural(drift.long_window.calls, 'call')}, ${exact(drift.settings.min_samples)} are needed.` : null;
}

/** What a person pins: what was seen last, or what was pinned before. */
export type Pin = { from: 'window' } | { from: 'earlier'; baseline: Baseline };

/** What pinning means, said before it is done. */
export function pinMeans(pin: Pin, drift: VersionDrift): { title: string; means: string[]; from: string } {
  const drifting = drift.fields.filter((one) => one.state === 'alert' || one.state === 'warn').map((one) => name(one.field));
  const many = drifting.length > 3 ? `${drifting.slice(0, 3).join(', ')} and ${drifting.length - 3} more` : drifting.join(', ');
  const starts = `Judging ${drift.version} starts anew: its fields are insufficient until the window has ${exact(drift.settings.min_samples)} calls again.`;
  const kept = drift.baseline ? [`The baseline of now, ${shortId(drift.baseline.id)}, is kept and can be pinned again.`] : [];
  if (pin.from === 'earlier') {
    return {
      title: `Pin ${shortId(pin.baseline.id)} again`,
      means: [`From now on ${drift.plugin} ${drift.version} is compared with what was captured from ${sourceOf(pin.baseline.source)}, ${plural(pin.baseline.calls, 'call')}.`, starts, ...kept],
      from: pin.baseline.id,
    };
  }
  return {
    title: 'Pin the current window as the baseline',
    means: [
      `From now on ${drift.plugin} ${drift.version} is compared with its last ${plural(drift.long_window.calls, 'call')}.`,
      ...(drifting.length ? [`What drifts becomes what is normal: ${many}.`] : []),
      starts,
      ...kept,
    ],
    from: 'window',
  };
}
