// `since` and `until` as the HTTP surface takes them: RFC 3339, or so long ago as `5m`.

const UNIT_MS: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };

/** `15m` → 900000; null if it is no duration. */
export function durationMs(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  return found?.[1] && found[2] ? Number(found[1]) * (UNIT_MS[found[2]] ?? 0) : null;
}

/** The instant that `since` or `until` means, in ms; null if it means none. */
export function instant(text: string | undefined | null, now: number = Date.now()): number | null {
  if (!text) return null;
  const back = durationMs(text);
  if (back !== null) return now - back;
  const time = Date.parse(text);
  return Number.isNaN(time) ? null : time;
}

export const rfc3339 = (ms: number): string => new Date(ms).toISOString();
