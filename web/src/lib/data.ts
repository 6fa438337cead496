// Data of a view: fetched, kept while it is fetched anew, aborted when the view goes.
import { useSignal } from '@preact/signals';
import { useCallback, useEffect, useRef } from 'preact/hooks';
import { ApiError, asApiError, isAbort } from '../api/client';
import { listen, want, type Handlers, type Wanted } from '../api/stream';

export interface Loaded<T> {
  /** The newest that came; null before the first, and after `key` changed. */
  data: T | null;
  /** Of the newest try. `data` may still hold what came before it. */
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
}

/**
 * `load` is called when `key` changes, every `every` ms while the page is visible, and by `reload`.
 * An answer that comes after `key` has changed is thrown away.
 */
export function useData<T>(key: string, load: (signal: AbortSignal) => Promise<T>, options: { every?: number; keep?: boolean } = {}): Loaded<T> {
  const state = useSignal<{ key: string; data: T | null; error: ApiError | null; loading: boolean }>({ key, data: null, error: null, loading: true });
  const newest = useRef(load);
  newest.current = load;
  const running = useRef<AbortController | null>(null);

  const run = useCallback(async () => {
    running.current?.abort();
    const controller = new AbortController();
    running.current = controller;
    const before = state.peek();
    const kept = before.key === key || options.keep ? before.data : null;
    if (before.key !== key || !before.loading) state.value = { key, data: kept, error: before.key === key ? before.error : null, loading: true };
    try {
      const data = await newest.current(controller.signal);
      if (!controller.signal.aborted) state.value = { key, data, error: null, loading: false };
    } catch (error) {
      if (!controller.signal.aborted && !isAbort(error)) state.value = { key, data: kept, error: asApiError(error), loading: false };
    }
  }, [key]);

  useEffect(() => {
    void run();
    let timer: ReturnType<typeof setInterval> | undefined;
    if (options.every) {
      timer = setInterval(() => {
        // A slow answer is waited for, not asked for again.
        if (!document.hidden && !state.peek().loading) void run();
      }, options.every);
    }
    return () => {
      clearInterval(timer);
      running.current?.abort();
    };
  }, [run, options.every]);

  const { key: of, data, error, loading } = state.value;
  const current = of === key;
  return { data: current || options.keep ? data : null, error: current ? error : null, loading: !current || loading, reload: () => void run() };
}

/** Hears of events while the component is there. */
export function useEvents(handlers: Handlers): void {
  const newest = useRef(handlers);
  newest.current = handlers;
  useEffect(() => {
    const through: Handlers = {};
    for (const name of Object.keys(handlers) as (keyof Handlers)[]) {
      through[name] = ((event: never) => (newest.current[name] as ((event: never) => void) | undefined)?.(event)) as never;
    }
    return listen(through);
  }, []);
}

/** What this view wants from the stream beside changes and alerts. */
export function useStream(wish: Wanted): void {
  const key = JSON.stringify(wish);
  useEffect(() => want(JSON.parse(key) as Wanted), [key]);
}

/** At most one call in `ms`, the last one always. */
export function useThrottled(run: () => void, ms: number): () => void {
  const newest = useRef(run);
  newest.current = run;
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => () => clearTimeout(timer.current ?? undefined), []);
  return useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      newest.current();
    }, ms);
  }, [ms]);
}
