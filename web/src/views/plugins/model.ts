import type { Overview, Plugin, PluginRates } from '../../api/model';

export interface Row {
  name: string;
  plugin: Plugin | null;
  rates: PluginRates | null;
}

/** What is registered, and what had calls and is gone. Sorted by name: rows do not jump while numbers change. */
export function rowsOf(plugins: Plugin[], overview: Overview | null, q = ''): Row[] {
  const rates = new Map((overview?.items ?? []).map((item) => [item.plugin, item]));
  const rows = plugins.map((plugin): Row => ({ name: plugin.name, plugin, rates: rates.get(plugin.name) ?? null }));
  const known = new Set(plugins.map((plugin) => plugin.name));
  for (const item of overview?.items ?? []) {
    if (!known.has(item.plugin)) rows.push({ name: item.plugin, plugin: null, rates: item });
  }
  const text = q.trim().toLowerCase();
  return rows
    .filter(({ name, plugin }) => !text || [name, plugin?.description, plugin?.owner].some((part) => part?.toLowerCase().includes(text)))
    .sort((a, b) => a.name.localeCompare(b.name));
}
