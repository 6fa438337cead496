// From which list somebody came to a call, so that the call before and after it in that list are one key away.

const KEY = 'spanglass.list';
const MOST = 2000;

export interface RememberedList {
  address: string;
  ids: string[];
}

export function rememberList(address: string, ids: string[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ address, ids: ids.slice(0, MOST) }));
  } catch {
    // Full or forbidden: there is no way from call to call then, and nothing else is missing.
  }
}

export function rememberedList(): RememberedList | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as RememberedList | null;
    return found && Array.isArray(found.ids) ? found : null;
  } catch {
    return null;
  }
}

/** Ids of the newer and the older call in a list that is newest first. */
export function neighbours(ids: readonly string[], id: string): { newer: string | null; older: string | null } {
  const at = ids.indexOf(id);
  if (at < 0) return { newer: null, older: null };
  return { newer: ids[at - 1] ?? null, older: ids[at + 1] ?? null };
}
