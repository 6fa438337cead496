// Short names for what the server answers.
import type { components, paths } from './types';

type Schemas = components['schemas'];

export type Plugin = Schemas['Plugin'];
export type Version = Schemas['Version'];
export type State = Schemas['State'];
export type Head = Schemas['Head'];
export type Overview = Schemas['Overview'];
export type PluginRates = Schemas['PluginRates'];
export type SeriesAnswer = Schemas['SeriesAnswer'];
export type Series = Schemas['Series'];
export type Alert = Schemas['Alert'];
export type Rule = Schemas['Rule'];
export type Notified = Schemas['Notified'];
export type Health = Schemas['Health'];
export type SignalHealth = Schemas['SignalHealth'];
export type Check = Schemas['Check'];
export type ErrorGroup = Schemas['ErrorGroup'];
export type Invocation = Schemas['Invocation'];
export type Trace = Schemas['Trace'];
export type Span = Schemas['Span'];
export type Log = Schemas['Log'];
export type Replay = Schemas['Replay'];
export type ReplaySide = Schemas['ReplaySide'];
export type Problem = Schemas['Problem'];
export type Kind = Schemas['Kind'];
export type Blame = Schemas['Blame'];
export type Outcome = Schemas['Outcome'];
export type Success = Schemas['Success'];
export type Meta = Schemas['Meta'];
export type CallError = Schemas['CallError'];
export type Usage = Schemas['Usage'];
export type DriftState = Schemas['DriftState'];
export type DriftOverview = Schemas['DriftOverview'];
export type VersionDrift = Schemas['VersionDrift'];
export type DriftField = Schemas['DriftField'];
export type DriftPoint = DriftField['history'][number];
export type DriftBin = Schemas['DriftBin'];
export type DriftExample = Schemas['DriftExample'];
export type DriftEvent = Schemas['DriftEvent'];
export type Baseline = Schemas['Baseline'];

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** What `GET path` answers, if it answers with 200 and JSON. */
export type Got<P extends keyof paths> = paths[P] extends {
  get: { responses: { 200: { content: { 'application/json': infer Body } } } };
}
  ? Body
  : never;
