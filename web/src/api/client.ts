// Asks the server. Every failure is one `ApiError`, whether the server said no or could not be reached.
import type { Blame, Got, Kind, Problem } from './model';
import type { paths } from './types';

const TOKEN = 'spanglass.token';

/** `/#token=…` is read once: it does not stay in the address, where it would be copied and shown. */
export function takeToken(): void {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found?.[1]) return;
  sessionStorage.setItem(TOKEN, decodeURIComponent(found[1]));
  history.replaceState(history.state, '', location.pathname + location.search);
}

export function setToken(token: string | null): void {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

export function authorization(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { authorization: `Bearer ${token}` } : {};
}

export class ApiError extends Error {
  /** 0: there was no answer. */
  readonly status: number;
  /** `unreachable`: there was no answer. */
  readonly kind: Kind | 'unreachable';
  readonly blame: Blame | null;
  readonly detail: string;
  readonly help: string | null;
  readonly traceId: string | null;
  readonly invocationId: string | null;
  readonly retryAfterMs: number | null;
  readonly fields: { pointer: string; message: string }[];
  readonly exception: Problem['exception'] | null;
  /** All that the server said; a replay that failed has more than is described for all. */
  readonly problem: Partial<Problem>;

  constructor(status: number, problem: Partial<Problem>, kind?: 'unreachable') {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.kind = kind ?? problem.kind ?? 'internal';
    this.blame = problem.blame ?? null;
    this.detail = this.message;
    this.help = problem.help ?? null;
    this.traceId = problem.trace_id ?? null;
    this.invocationId = problem.invocation_id ?? null;
    this.retryAfterMs = problem.retry_after_ms ?? null;
    this.fields = problem.errors ?? [];
    this.exception = problem.exception ?? null;
    this.problem = problem;
  }

  /** Where this kind of error is explained. */
  get docs(): string | null {
    return this.kind === 'unreachable' ? null : `/docs/errors/${this.kind}`;
  }

  static unreachable(): ApiError {
    return new ApiError(0, { detail: 'the server cannot be reached', help: 'is `spanglass serve` running? The page tries again by itself' }, 'unreachable');
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, { detail: error instanceof Error ? error.message : String(error) });
}

export type QueryValue = string | number | boolean | null | undefined;

/** `{plugin: 'a', q: ''}` → `?plugin=a`: what is empty is not asked for. */
export function queryString(query: Record<string, QueryValue>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '' && value !== false) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** Fills `{name}` in a path of the document. */
export function fillPath(path: string, values: Record<string, string> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}

export interface Asked {
  /** For `{…}` in the path. */
  path?: Record<string, string>;
  query?: Record<string, QueryValue>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** One request; the whole answer. Throws `ApiError`, or an abort. */
export async function request<T = unknown>(method: string, path: string, asked: Asked & { body?: unknown } = {}): Promise<Answer<T>> {
  const address = fillPath(path, asked.path) + queryString(asked.query ?? {});
  const init: RequestInit = { method, headers: { accept: 'application/json', ...authorization(), ...asked.headers } };
  if (asked.signal) init.signal = asked.signal;
  if (asked.body !== undefined) {
    init.body = JSON.stringify(asked.body);
    (init.headers as Record<string, string>)['content-type'] = 'application/json';
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(address, init);
    text = await response.text();
  } catch (error) {
    if (isAbort(error)) throw error;
    throw ApiError.unreachable();
  }
  const body = parse(text);
  if (!response.ok) {
    const problem = typeof body === 'object' && body !== null ? (body as Partial<Problem>) : { detail: `the server answered ${response.status}` };
    throw new ApiError(response.status, problem);
  }
  return { status: response.status, headers: response.headers, body: body as T };
}

function parse(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** `get('/v1/plugins/{name}', {path: {name}})`: the answer has the type that the document says. */
export async function get<P extends keyof paths & string>(path: P, asked?: Asked): Promise<Got<P>> {
  return (await request<Got<P>>('GET', path, asked)).body;
}

export async function post<T = unknown>(path: keyof paths & string, body?: unknown, asked: Asked = {}): Promise<T> {
  return (await request<T>('POST', path, { ...asked, body })).body;
}

/** Named so because `delete` is a word of the language. */
export async function remove(path: keyof paths & string, asked: Asked = {}): Promise<void> {
  await request('DELETE', path, asked);
}
