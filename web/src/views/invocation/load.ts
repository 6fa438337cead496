// What the views of one call and of one trace need, from the server.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, asApiError, get, isAbort } from '../../api/client';
import type { Invocation, Trace } from '../../api/model';

/** A call that ended may reach the ledger a moment after its reply. */
const TRIES = 12;
const PAUSE_MS = 250;

/** The trace; null as long as nothing of it is kept. */
export async function loadTrace(id: string, signal: AbortSignal): Promise<Trace | null> {
  for (let i = 0; ; i++) {
    try {
      return await get('/v1/traces/{trace_id}', { path: { trace_id: id }, signal });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      if (i >= TRIES) return null;
    }
    await pause(PAUSE_MS, signal);
  }
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('', 'AbortError'));
    });
  });
}

/** The call, followed until it ends. */
export function useCall(id: string): { call: Invocation | null; error: ApiError | null } {
  const [state, set] = useState<{ call: Invocation | null; error: ApiError | null }>({ call: null, error: null });
  useEffect(() => {
    const abort = new AbortController();
    const follow = async () => {
      let call = await get('/v1/invocations/{id}', { path: { id }, signal: abort.signal });
      set({ call, error: null });
      while (call.state !== 'done') {
        // The server answers when it ends, or after this time with what it is then.
        const begun = performance.now();
        call = await get('/v1/invocations/{id}', { path: { id }, query: { wait: '20s' }, signal: abort.signal });
        set({ call, error: null });
        if (call.state !== 'done' && performance.now() - begun < 500) await pause(500, abort.signal);
      }
    };
    follow().catch((error: unknown) => {
      if (!isAbort(error)) set((before) => ({ call: before.call, error: asApiError(error) }));
    });
    return () => abort.abort();
  }, [id]);
  return state;
}
