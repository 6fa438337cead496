import { describe, expect, test } from 'vitest';
import type { DriftBin, DriftField, DriftPoint, VersionDrift } from '../../api/model';
import { CATEGORIES_MOST, chartOf, countsOf, groupsOf, HEIGHT, labelOf, LABEL_MOST, matchesVersion, missing, name, NAME_MOST, pinBlocked, pinMeans, pvalue, scaleOf, score, shownBins, trendOf, worstFirst } from './model';

const settings = { alpha: 0.01, min_effect: 0.1, min_samples: 200, looks: 12 };
const field = (name: string, state: DriftField['state']): DriftField => ({
  field: name, kind: 'number', state, since: null, samples: 200, baseline_samples: 500, psi: null, effect: null, js: null, pvalue: null, null_ratio: null, baseline_null_ratio: null, new_category_ratio: null,
  dispersion: 1, reason: null, long: { state, samples: 0, psi: null, js: null, pvalue: null }, bins: [], examples: [], history: [],
});
const bin = (label: string, kind: DriftBin['kind'], baseline: number, current: number, grew = false): DriftBin => ({ label, kind, baseline, current, baseline_count: baseline * 1000, current_count: current * 1000, grew });
const point = (psi: number | null, at = '2026-01-01T00:00:00Z'): DriftPoint => ({ at, state: 'ok', psi, effect: psi, pvalue: null });
const drift: VersionDrift = {
  plugin: 'payments', version: '1.2.0', state: 'alert', since: null, phase: 'watching', capture: null,
  baseline: { id: `sha256:${'ab'.repeat(32)}`, source: 'first_calls', created_at: '2026-01-01T00:00:00Z', calls: 500, fields: 2 },
  window: { calls: 200, wanted: 200, step: 50 }, long_window: { calls: 950, wanted: 2000, step: 250 }, settings, calls: 1000, judged_at: null, memory_bytes: 1, fields: [],
};

describe('numbers', () => {
  test('a score has two significant digits, and none is a dash', () => {
    expect([0, 0.00001, 0.0041, 0.314, 0.099, 0.996, 1.234, 12].map(score)).toEqual(['0', '<0.0001', '0.0041', '0.31', '0.099', '1.00', '1.23', '12.00']);
    expect([null, undefined, NaN, Infinity].map(score)).toEqual(['–', '–', '–', '–']);
  });
  test('a p-value says its order, also where it is smaller than a number can be', () => {
    expect([1, 0.0312, 0.001, 0.00099, 3.1e-10, 0, null].map(pvalue)).toEqual(['1', '0.031', '0.001', '1e-3', '3e-10', '<1e-300', '–']);
  });
});

describe('what is not there yet', () => {
  test('is a number to wait for', () => {
    const few = { state: 'insufficient' as const, samples: 120, baseline_samples: 500 };
    expect(missing(few, settings, drift)).toBe('80 more values needed, 120 of 200 are there');
    expect(missing({ ...few, samples: 199 }, settings, drift)).toContain('1 more value needed');
    expect(missing({ ...few, baseline_samples: 40 }, settings, drift)).toBe('its baseline has 40 values, 200 are needed: pin another');
    expect(missing({ ...few, samples: 200 }, settings, drift)).toBe('it is judged at the next step');
    expect(missing(few, settings, { phase: 'waiting', capture: null })).toBe('there is no baseline yet');
    expect(missing(few, settings, { phase: 'capturing', capture: { calls: 120, wanted: 500 } })).toBe('its baseline needs 380 more calls');
    expect(missing(few, settings, { phase: 'capturing', capture: null })).toBe('its baseline is being captured');
  });
  test('and nothing is missing from what is judged', () => {
    expect(missing({ state: 'ok', samples: 1, baseline_samples: 1 }, settings, drift)).toBeNull();
  });
});

describe('order and filters', () => {
  const fields = [field('$.a', 'ok'), field('$.b', 'insufficient'), field('$.c', 'warn'), field('$.d', 'alert'), field('$.e', 'ok'), field('$.f', 'alert')];
  const names = (found: { field: string }[]) => found.map((one) => one.field).join(' ');
  test('the worst first, equals as they came', () => {
    expect(names(worstFirst(fields))).toBe('$.d $.f $.c $.b $.a $.e');
    expect(countsOf(fields)).toEqual({ alert: 2, warn: 1, insufficient: 1, ok: 2 });
  });
  test('groups, all and filtered', () => {
    const { drifting, insufficient, quiet } = groupsOf(fields, {});
    expect([drifting, insufficient, quiet].map(names)).toEqual(['$.d $.f $.c', '$.b', '$.a $.e']);
    expect(Object.values(groupsOf(fields, { state: 'warn' })).map(names)).toEqual(['$.c', '', '']);
    expect(Object.values(groupsOf(fields, { q: '.A' })).map(names)).toEqual(['', '', '$.a']);
    expect(Object.values(groupsOf(fields, { q: 'nobody' })).map(names)).toEqual(['', '', '']);
  });
  test('a version is found by its name and by a field that drifts', () => {
    const one = { plugin: 'payments', version: '1.2.0', takes_calls: true, state: 'alert' as const, since: null, phase: 'watching' as const, capture: null, baseline_id: null, baseline_created_at: null, window_calls: 0, fields: 1, drifting: ['$.input.amount'] };
    expect(['', 'PAY', 'payments 1.2', 'amount', 'nobody'].map((q) => matchesVersion(one, { q }))).toEqual([true, true, true, true, false]);
    expect([matchesVersion(one, { state: 'alert' }), matchesVersion(one, { state: 'ok' })]).toEqual([true, false]);
  });
});

describe('names from outside', () => {
  test('are cut, with signs for what would turn or hide text', () => {
    expect(Array.from(name('x'.repeat(1_000_000)))).toHaveLength(NAME_MOST + 1);
    expect(Array.from(labelOf({ kind: 'category', label: '😀'.repeat(500) }).text)).toHaveLength(LABEL_MOST + 1);
    expect(labelOf({ kind: 'category', label: '😀'.repeat(LABEL_MOST) }).text).toBe('😀'.repeat(LABEL_MOST));
    expect(labelOf({ kind: 'category', label: 'x'.repeat(LABEL_MOST + 1) }).text).toBe(`${'x'.repeat(LABEL_MOST)}…`);
    expect(labelOf({ kind: 'category', label: 'a\n\u202eb\u0000' }).text).toBe('a↵⟨U+202E⟩b␀');
    expect(['', ' ', 'a ', ' b', 'a b'].map((label) => labelOf({ kind: 'category', label }).text)).toEqual(['(empty text)', '" "', '"a "', '" b"', 'a b']);
  });
  test('cannot look like one of the special bins', () => {
    const kinds = ['range', 'value', 'category', 'other', 'null', 'invalid'] as const;
    expect(kinds.map((kind) => labelOf({ kind, label: 'null or absent' }).special)).toEqual([false, false, false, true, true, true]);
  });
});

describe('bins', () => {
  const special = [bin('other', 'other', 0, 0.05, true), bin('null', 'null', 0, 0), bin('invalid', 'invalid', 0, 0)];
  test('special ones are shown where something is in them', () => {
    expect(shownBins([bin('1 to 2', 'range', 0, 0), ...special], false).bins.map((one) => one.kind)).toEqual(['range', 'other']);
  });
  test('many categories are folded to the largest and those that grew; the rest is summed', () => {
    const many = Array.from({ length: 63 }, (_, at) => bin(`c${at}`, 'category', (63 - at) / 2100, 0.01));
    many[60] = bin('grown', 'category', 0, 0.004, true);
    const { bins, rest } = shownBins([...many, ...special], false);
    expect(bins).toHaveLength(CATEGORIES_MOST + 1);
    expect(bins.map((one) => one.label)).toContain('grown');
    expect(bins[0]?.label).toBe('c0');
    expect(rest?.count).toBe(63 - CATEGORIES_MOST);
    const sum = (of: 'baseline' | 'current') => many.reduce((total, one) => total + one[of], 0) - bins.filter((one) => one.kind === 'category').reduce((total, one) => total + one[of], 0);
    expect(rest?.baseline).toBeCloseTo(sum('baseline'), 12);
    expect(rest?.current).toBeCloseTo(sum('current'), 12);
    expect(shownBins([...many, ...special], true)).toMatchObject({ rest: null, bins: { length: 64 } });
  });
  test('ranges keep all, and their order', () => {
    const ranges = Array.from({ length: 20 }, (_, at) => bin(`${at}`, 'value', 0.05, 0.05));
    expect(shownBins(ranges, false)).toEqual({ bins: ranges, rest: null });
  });
  test('the largest share that is shown has the whole width', () => {
    const pair = [bin('a', 'range', 0.2, 0.7), bin('b', 'range', 0.4, 0.1)];
    expect([scaleOf(pair, true), scaleOf(pair, false), scaleOf([], true)]).toEqual([0.7, 0.4, 0.01]);
  });
});

describe('history', () => {
  test('a line with gaps where nothing is known, below it the numbers in words', () => {
    const { line, threshold, said } = trendOf([point(null), point(0.05), point(0.1), point(null), point(0.2)], 0.1);
    expect(line.match(/M/g)).toHaveLength(2);
    expect(line.match(/L/g)).toHaveLength(1);
    expect(threshold).toBeGreaterThan(0);
    expect(threshold).toBeLessThan(HEIGHT);
    expect(said).toBe('PSI over 5 steps: now 0.2, highest 0.2, at least 0.1 in 2');
  });
  test('nothing known is no line and no zero', () => {
    expect(trendOf([], 0.1)).toMatchObject({ line: '', said: 'PSI: not known yet' });
    expect(trendOf([point(null)], 0.1)).toMatchObject({ line: '', said: 'PSI: not known yet' });
    expect(chartOf([], 0.1)).toBeNull();
    expect(chartOf([point(null)], 0.1)).toBeNull();
  });
  test('a clock that was set back does not turn the chart around', () => {
    const chart = chartOf([point(0.1, '2026-01-01T00:00:10Z'), point(0.2, '2026-01-01T00:00:05Z'), point(0.3, '2026-01-01T00:00:20Z'), point(0.4, 'never')], 0.1);
    expect(chart?.times.map((time) => time % 60)).toEqual([10, 20]);
    expect(chart?.lines[0]?.values).toEqual([0.1, 0.3]);
    expect(chart?.lines[1]?.values).toEqual([0.1, 0.1]);
  });
  test('one point has room around it', () => {
    const chart = chartOf([point(0.1)], 0.1);
    expect((chart?.range[1] ?? 0) - (chart?.range[0] ?? 0)).toBe(60);
  });
});

describe('pinning', () => {
  test('says what becomes normal, and that the baseline of now is kept', () => {
    const drifting = { ...drift, fields: ['a', 'b', 'c', 'd', 'e'].map((one) => field(`$.${one}`, 'alert')) };
    const { means, from } = pinMeans({ from: 'window' }, drifting);
    expect(from).toBe('window');
    expect(means.join('\n')).toContain('with its last 950 calls');
    expect(means.join('\n')).toContain('$.a, $.b, $.c and 2 more');
    expect(means.join('\n')).toContain('abababababab, is kept');
    expect(pinMeans({ from: 'window' }, drift).means.join('\n')).not.toContain('becomes what is normal');
  });
  test('an earlier one is named by its id', () => {
    const baseline = { ...drift.baseline!, id: `sha256:${'cd'.repeat(32)}`, plugin: 'payments', version: '1.2.0', pinned: false };
    expect(pinMeans({ from: 'earlier', baseline }, drift).from).toBe(baseline.id);
  });
  test('waits until there is enough to pin', () => {
    expect(pinBlocked(drift)).toBeNull();
    expect(pinBlocked({ ...drift, long_window: { calls: 199, wanted: 2000, step: 250 } })).toContain('199 calls, 200 are needed');
    expect(pinBlocked({ ...drift, phase: 'capturing' })).toContain('captured');
    expect(pinBlocked({ ...drift, phase: 'waiting' })).toContain('from a file');
  });
});
