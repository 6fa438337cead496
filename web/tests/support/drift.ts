// Answers about drift as the server gives them, for what a demo does not show: many fields, few values, hostile names.
import type { BrowserContext, Route } from '@playwright/test';
import type { Baseline, DriftBin, DriftEvent, DriftField, DriftOverview, DriftState, VersionDrift } from '../../src/api/model';

const MINUTE = 60_000;
const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();
const id = (digit: string): string => `sha256:${digit.repeat(64)}`;
const invocation = (number: number): string => `019ac000-0000-7000-8000-${String(number).padStart(12, '0')}`;

function bin(label: string, kind: DriftBin['kind'], baseline: number, current: number, grew = false): DriftBin {
  return { label, kind, baseline, current, baseline_count: Math.round(baseline * 500), current_count: Math.round(current * 200), grew };
}

const SPECIAL = [bin('unseen values', 'other', 0, 0), bin('null or absent', 'null', 0, 0), bin('of another type', 'invalid', 0, 0)];

/** Ten deciles; those above the fifth hold more than they did while it drifts. */
export function numberField(field: string, state: DriftState, more: Partial<DriftField> = {}): DriftField {
  const drifts = state === 'alert' || state === 'warn';
  const insufficient = state === 'insufficient';
  const psi = insufficient ? null : drifts ? 0.314 : 0.021;
  const edges = [12.5, 18, 24.1, 31, 40, 52.5, 60, 75, 99.2];
  const labels = [`up to ${edges[0]}`, ...edges.slice(1).map((edge, at) => `${edges[at]} to ${edge}`), `more than ${edges.at(-1)}`];
  return {
    field, kind: 'number', state, since: drifts ? ago(4 * MINUTE) : null, samples: insufficient ? 120 : 200, baseline_samples: 498,
    psi, effect: psi, js: psi && psi / 1.6, pvalue: insufficient ? null : drifts ? 3.1e-10 : 0.41,
    null_ratio: insufficient ? null : 0, baseline_null_ratio: 0, new_category_ratio: insufficient ? null : 0, dispersion: 1,
    reason: drifts ? 'PSI 0.31 is at least 0.1 and p 3e-10 below 0.01, in 2 of the last 3 steps' : null,
    long: insufficient ? { state: 'insufficient', samples: 120, psi: null, js: null, pvalue: null } : { state: 'ok', samples: 950, psi: 0.04, js: 0.09, pvalue: 0.2 },
    bins: [...labels.map((label, at) => (drifts ? bin(label, 'range', 0.1, at > 5 ? 0.2 : 0.0334, at > 5) : bin(label, 'range', 0.1, 0.1))), ...SPECIAL],
    examples: drifts ? [1, 2, 3].map((number) => ({ invocation_id: invocation(number), trace_id: '0'.repeat(31) + number, at: ago(number * 1000), bin: 'more than 99.2' })) : [],
    history: Array.from({ length: 24 }, (_, at) => {
      const past = psi && (drifts ? (at < 12 ? 0.02 : 0.02 + (at - 11) * 0.0245) : 0.02 + (at % 3) / 200);
      return { at: ago((24 - at) * 10_000), state, psi: past, effect: past, pvalue: 0.3 };
    }),
    ...more,
  };
}

export function categoryField(field: string, state: DriftState, names: string[], more: Partial<DriftField> = {}): DriftField {
  const share = 0.96 / names.length;
  const bins = [...names.map((name) => bin(name, 'category', share, share)), bin('unseen categories', 'other', 0, 0.04, true), bin('null or absent', 'null', 0.0125, 0.12, true), bin('of another type', 'invalid', 0, 0)];
  return { ...numberField(field, state), kind: 'category', null_ratio: 0.12, baseline_null_ratio: 0.0125, new_category_ratio: 0.04, bins, ...more };
}

export function versionDrift(fields: DriftField[], more: Partial<VersionDrift> = {}): VersionDrift {
  const worst = (['alert', 'warn', 'insufficient', 'ok'] as const).find((state) => fields.some((one) => one.state === state)) ?? 'insufficient';
  return {
    plugin: 'payments', version: '1.2.0', state: worst, since: ago(4 * MINUTE), phase: 'watching', capture: null,
    baseline: { id: id('a'), source: 'first_calls', created_at: ago(90 * MINUTE), calls: 500, fields: fields.length },
    window: { calls: 200, wanted: 200, step: 50 }, long_window: { calls: 950, wanted: 2000, step: 250 },
    settings: { alpha: 0.01, min_effect: 0.1, min_samples: 200, looks: 12 }, calls: 12345, judged_at: ago(3000), memory_bytes: 61_440, fields,
    ...more,
  };
}

export function overviewOf(drift: VersionDrift, more: Partial<DriftOverview> = {}): DriftOverview {
  return {
    plugin: drift.plugin, version: drift.version, takes_calls: true, state: drift.state, since: drift.since, phase: drift.phase, capture: drift.capture,
    baseline_id: drift.baseline?.id ?? null, baseline_created_at: drift.baseline?.created_at ?? null, window_calls: drift.window.calls,
    fields: drift.fields.length, drifting: drift.fields.filter((one) => one.state === 'alert').map((one) => one.field),
    ...more,
  };
}

export function eventOf(field: string | null, type: DriftEvent['type'], more: Partial<DriftEvent> = {}): DriftEvent {
  return {
    id: `${type} ${field}`, at: ago(4 * MINUTE), type, plugin: 'payments', version: '1.2.0', field, state: type === 'drift.detected' ? 'alert' : 'ok',
    psi: 0.314, js: 0.2, pvalue: 3.1e-10, baseline_id: id('a'),
    summary: type === 'drift.baseline_pinned' ? 'the baseline of payments 1.2.0 is aaaaaaaaaaaa, from its first 500 calls' : 'PSI 0.31 against the baseline, p 3e-10',
    examples: field ? [{ invocation_id: invocation(1), trace_id: '0'.repeat(31) + '1', at: ago(1000), bin: 'more than 99.2' }] : [],
    ...more,
  };
}

export function baselineOf(digit: string, pinned: boolean): Baseline {
  return { id: id(digit), plugin: 'payments', version: '1.2.0', source: pinned ? 'first_calls' : 'window', created_at: ago(90 * MINUTE), calls: 500, fields: 6, pinned };
}

export interface Answers {
  versions: DriftOverview[];
  drift: VersionDrift;
  events: DriftEvent[];
  baselines: Baseline[];
  /** Requests that pin, with their query. */
  pinned: URLSearchParams[];
  /** What such a request is answered. */
  onPin: { status: number; body: unknown };
}

/** From now on the page hears these; the object may be changed while it is open. */
export async function answerWith(context: BrowserContext, given: Partial<Answers> & { drift: VersionDrift }): Promise<Answers> {
  const answers: Answers = {
    versions: [overviewOf(given.drift)], events: [], baselines: [baselineOf('a', true)], pinned: [], onPin: { status: 201, body: baselineOf('b', true) },
    ...given,
  };
  const json = (route: Route, body: unknown, status = 200) => route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) });
  await context.route(/\/v1\/drift(\/events)?(\?|$)/, (route) => json(route, new URL(route.request().url()).pathname.endsWith('/events') ? { items: answers.events, next: null } : { items: answers.versions }));
  await context.route(/\/v1\/plugins\/[^/]+\/drift(\?|$)/, (route) => json(route, answers.drift));
  await context.route(/\/v1\/plugins\/[^/]+\/baselines(\?|$)/, (route) => {
    if (route.request().method() !== 'POST') return json(route, { items: answers.baselines, next: null });
    answers.pinned.push(new URL(route.request().url()).searchParams);
    return json(route, answers.onPin.body, answers.onPin.status);
  });
  return answers;
}
