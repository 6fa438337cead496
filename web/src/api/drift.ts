// What `/v1/drift` and its neighbours answer. Numbers that are not known are null, never 0.
import { request } from './client';
import type { Page } from './model';

export type DriftState = 'insufficient' | 'ok' | 'warn' | 'alert';
export type DriftPhase = 'waiting' | 'capturing' | 'watching';

export interface DriftProgress {
  calls: number;
  wanted: number;
}

export interface WindowFill extends DriftProgress {
  step: number;
}

export interface DriftOverview {
  plugin: string;
  version: string;
  takes_calls: boolean;
  state: DriftState;
  since: string | null;
  phase: DriftPhase;
  capture: DriftProgress | null;
  baseline_id: string | null;
  baseline_created_at: string | null;
  window_calls: number;
  fields: number;
  drifting: string[];
}

export interface BaselineHead {
  id: string;
  source: 'first_calls' | 'file' | 'window';
  created_at: string;
  calls: number;
  fields: number;
}

export interface StoredBaseline extends BaselineHead {
  plugin: string;
  version: string;
  pinned: boolean;
}

export interface BinShare {
  label: string;
  kind: 'range' | 'value' | 'category' | 'other' | 'null' | 'invalid';
  baseline: number;
  current: number;
  baseline_count: number;
  current_count: number;
  grew: boolean;
}

export interface DriftExample {
  invocation_id: string;
  trace_id: string;
  at: string;
  bin: string;
}

export interface HistoryPoint {
  at: string;
  state: DriftState;
  psi: number | null;
  pvalue: number | null;
}

export interface LongDrift {
  state: DriftState;
  samples: number;
  psi: number | null;
  js: number | null;
  pvalue: number | null;
}

export interface FieldDrift {
  field: string;
  kind: string;
  state: DriftState;
  since: string | null;
  samples: number;
  baseline_samples: number;
  psi: number | null;
  js: number | null;
  pvalue: number | null;
  null_ratio: number | null;
  baseline_null_ratio: number | null;
  new_category_ratio: number | null;
  dispersion: number;
  reason: string | null;
  long: LongDrift;
  bins: BinShare[];
  examples: DriftExample[];
  history: HistoryPoint[];
}

export interface DriftSettings {
  alpha: number;
  min_effect: number;
  min_samples: number;
}

export interface VersionDrift {
  plugin: string;
  version: string;
  state: DriftState;
  since: string | null;
  phase: DriftPhase;
  capture: DriftProgress | null;
  baseline: BaselineHead | null;
  window: WindowFill;
  long_window: WindowFill;
  settings: DriftSettings;
  calls: number;
  judged_at: string | null;
  memory_bytes: number;
  fields: FieldDrift[];
}

export interface DriftEvent {
  id: string;
  at: string;
  type: 'drift.detected' | 'drift.warned' | 'drift.resolved' | 'drift.baseline_pinned';
  plugin: string;
  version: string;
  field: string | null;
  state: DriftState;
  psi: number | null;
  js: number | null;
  pvalue: number | null;
  baseline_id: string | null;
  summary: string;
  examples: DriftExample[];
}

export async function watchedVersions(signal: AbortSignal): Promise<DriftOverview[]> {
  return (await request<{ items: DriftOverview[] }>('GET', '/v1/drift', { signal })).body.items;
}

/** Without a version: the one that takes calls. */
export async function versionDrift(name: string, version: string | undefined, signal: AbortSignal): Promise<VersionDrift> {
  return (await request<VersionDrift>('GET', '/v1/plugins/{name}/drift', { path: { name }, query: { version }, signal })).body;
}

/** Newest first. */
export async function driftEvents(query: { plugin?: string; version?: string; limit: number }, signal: AbortSignal): Promise<Page<DriftEvent>> {
  return (await request<Page<DriftEvent>>('GET', '/v1/drift/events', { query, signal })).body;
}

export async function baselinesOf(name: string, version: string, signal: AbortSignal): Promise<StoredBaseline[]> {
  return (await request<Page<StoredBaseline>>('GET', '/v1/plugins/{name}/baselines', { path: { name }, query: { version }, signal })).body.items;
}

/** `from`: `window`, or the id of an earlier one. */
export async function pinBaseline(name: string, version: string, from: string): Promise<void> {
  await request('POST', '/v1/plugins/{name}/baselines', { path: { name }, query: { version, from } });
}
