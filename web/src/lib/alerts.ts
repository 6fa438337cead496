// Alerts are shown by the shell and by several views, so they are fetched once.
import { signal } from '@preact/signals';
import { asApiError, get, isAbort, type ApiError } from '../api/client';
import type { Alert, Got } from '../api/model';
import { listen } from '../api/stream';

export type AlertsAnswer = Got<'/v1/alerts'>;

export const alertsAnswer = signal<AlertsAnswer | null>(null);
export const alertsError = signal<ApiError | null>(null);
export const alerts = signal<Alert[] | null>(null);

/** The rule whose alerts are explained by the view of drift. */
export const DRIFT_RULE = 'PluginDrift';

/** Events say at once what changed; asking again mends what a lost event would have said. */
const EVERY_MS = 15_000;

let asking = false;

export async function reloadAlerts(): Promise<void> {
  if (asking) return;
  asking = true;
  try {
    const answer = await get('/v1/alerts');
    alertsAnswer.value = answer;
    alerts.value = answer.items;
    alertsError.value = null;
  } catch (error) {
    if (!isAbort(error)) alertsError.value = asApiError(error);
  } finally {
    asking = false;
  }
}

export function startAlerts(): () => void {
  void reloadAlerts();
  const timer = setInterval(() => {
    if (!document.hidden) void reloadAlerts();
  }, EVERY_MS);
  const unlisten = listen({ alert: () => void reloadAlerts() });
  return () => {
    clearInterval(timer);
    unlisten();
  };
}
