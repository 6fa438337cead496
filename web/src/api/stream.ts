// One connection to `/v1/stream` for the whole page, read with `fetch` because `EventSource` cannot send a token.
//
// A browser opens six connections to a server, and tabs share them: so there is one a tab, and none while the tab is
// hidden. The view that is shown says what it wants to hear of; the shell always hears of changes and alerts.
import { signal, type ReadonlySignal } from '@preact/signals';
import { ApiError, authorization, queryString } from './client';
import type { Alert, Invocation, Log, Problem } from './model';
import { EventParser } from './sse';

export type StreamState = 'connecting' | 'live' | 'reconnecting' | 'paused' | 'failed';

export interface StreamEvents {
  invocation: Invocation;
  active: { items: Invocation[]; total: number };
  log: Log;
  change: Log;
  alert: Alert;
  lost: { reason: 'rate' | 'slow' | 'gone'; invocations: number; logs: number };
}

export type Handlers = { [K in keyof StreamEvents]?: (event: StreamEvents[K]) => void };

export interface Wanted {
  /** Beside changes and alerts. */
  topics?: ('invocations' | 'active' | 'logs')[];
  plugin?: string | undefined;
  version?: string | undefined;
  outcome?: string | undefined;
  kind?: string | undefined;
  level?: string | undefined;
  trace?: string | undefined;
  q?: string | undefined;
}

const state = signal<StreamState>('connecting');
const failure = signal<ApiError | null>(null);

export const streamState: ReadonlySignal<StreamState> = state;
/** Why it is not live, when it is `reconnecting` or `failed`. */
export const streamFailure: ReadonlySignal<ApiError | null> = failure;

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 15_000;
/** The server says something at least every 15 s; a connection that is silent for longer is dead. */
const SILENCE_MAX_MS = 40_000;
/** A hidden tab stays connected for a moment, so that a short look elsewhere costs nothing. */
const HIDDEN_MS = 10_000;

const listeners = new Set<Handlers>();
let wanted: Wanted = {};
let wantedBy: object | null = null;
let lastId: string | null = null;
let stopped: AbortController | null = null;
let pausedByUser = false;
let hiddenTimer: ReturnType<typeof setTimeout> | undefined;

/** Called once, by the shell. */
export function startStream(): void {
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(disconnect, HIDDEN_MS);
    else if (!stopped && !pausedByUser) connect();
  });
  connect();
}

/** Hears of events until the returned function is called. */
export function listen(handlers: Handlers): () => void {
  listeners.add(handlers);
  return () => listeners.delete(handlers);
}

/** What the view that is shown wants to hear of beside changes and alerts; undone by the returned function. */
export function want(wish: Wanted): () => void {
  const by = {};
  wantedBy = by;
  rewire(wish);
  return () => {
    // The next view may have said its wish already.
    if (wantedBy === by) rewire({});
  };
}

export function pauseStream(): void {
  pausedByUser = true;
  disconnect();
}

/** Goes on where it was paused, as far back as the server's ring reaches; else `lost` says what is missing. */
export function resumeStream(): void {
  pausedByUser = false;
  if (!stopped) connect();
}

function rewire(wish: Wanted): void {
  if (JSON.stringify(wish) === JSON.stringify(wanted)) return;
  wanted = wish;
  // Old messages that were not wanted before would come beside a list that has them already.
  lastId = null;
  if (pausedByUser) return;
  disconnect();
  // In the next turn: a view that goes and one that comes make one connection, not two.
  queueMicrotask(() => {
    if (!stopped && !pausedByUser && !document.hidden) connect();
  });
}

function disconnect(): void {
  stopped?.abort();
  stopped = null;
  if (state.value !== 'paused') state.value = 'paused';
}

function connect(): void {
  const controller = new AbortController();
  stopped?.abort();
  stopped = controller;
  state.value = state.value === 'reconnecting' ? 'reconnecting' : 'connecting';
  void run(controller.signal);
}

async function run(signal: AbortSignal): Promise<void> {
  for (let wait = BACKOFF_MIN_MS; !signal.aborted; wait = Math.min(wait * 2, BACKOFF_MAX_MS)) {
    let lived = false;
    try {
      await read(signal, () => {
        lived = true;
        failure.value = null;
        state.value = 'live';
      });
    } catch (error) {
      if (signal.aborted) return;
      failure.value = error instanceof ApiError ? error : ApiError.unreachable();
      // Asking again does not help against a missing token.
      if (failure.value.status === 401 || failure.value.status === 404) {
        state.value = 'failed';
        stopped = null;
        return;
      }
    }
    if (signal.aborted) return;
    state.value = 'reconnecting';
    if (lived) wait = BACKOFF_MIN_MS;
    // Spread out, so that the pages of a server that comes back do not all knock in the same instant.
    await sleep(wait * (0.75 + Math.random() / 2), signal);
  }
}

async function read(stop: AbortSignal, onLive: () => void): Promise<void> {
  const attempt = new AbortController();
  const onStop = () => attempt.abort();
  stop.addEventListener('abort', onStop);
  try {
    await readOnce(attempt.signal, onLive);
  } finally {
    stop.removeEventListener('abort', onStop);
    attempt.abort();
  }
}

async function readOnce(signal: AbortSignal, onLive: () => void): Promise<void> {
  const { topics = [], ...filter } = wanted;
  const query = queryString({ ...filter, topics: [...topics, 'changes', 'alerts'].join(',') });
  const headers: Record<string, string> = { accept: 'text/event-stream', ...authorization() };
  if (lastId) headers['last-event-id'] = lastId;
  const response = await fetch(`/v1/stream${query}`, { headers, signal, cache: 'no-store' });
  if (!response.ok || !response.body) {
    const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
    throw new ApiError(response.status, problem);
  }
  const reader = response.body.getReader();
  const parser = new EventParser();
  const decoder = new TextDecoder();
  for (;;) {
    let silent: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      silent = setTimeout(() => reject(ApiError.unreachable()), SILENCE_MAX_MS);
    });
    const piece = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(silent));
    if (piece.done) return;
    onLive();
    for (const event of parser.push(decoder.decode(piece.value, { stream: true }))) {
      if (event.id) lastId = event.id;
      tell(event.event, event.data);
    }
  }
}

function tell(name: string, data: string): void {
  let body: unknown;
  for (const handlers of listeners) {
    const handler = handlers[name as keyof StreamEvents] as ((event: unknown) => void) | undefined;
    if (!handler) continue;
    body ??= JSON.parse(data);
    handler(body);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
