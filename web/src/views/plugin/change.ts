// What a person can do to a version, and what that means.
import type { Plugin, Version } from '../../api/model';

export interface Change {
  what: 'enable' | 'disable' | 'rollback' | 'remove';
  version: string;
}

/** Where the calls go back to: the next lower version that takes calls and is not held back. */
export function rollbackTarget(plugin: Pick<Plugin, 'version'>, versions: Pick<Version, 'version' | 'state' | 'held_back'>[]): string | null {
  const index = versions.findIndex((one) => one.version === plugin.version);
  if (index < 0) return null;
  return versions.slice(index + 1).find((one) => one.state === 'running' && !one.held_back)?.version ?? null;
}

export function explain({ what, version }: Change, plugin: Pick<Plugin, 'name' | 'version'>): { title: string; means: string[]; button: string; path: string; method: 'POST' | 'DELETE' } {
  const base = `/v1/plugins/{name}/versions/{version}`;
  const current = plugin.version === version;
  switch (what) {
    case 'rollback':
      return {
        title: `Roll ${plugin.name} back to ${version}`,
        means: [
          `From now on calls that name no version go to ${version}; those under way end where they are.`,
          `${plugin.version} stays registered and is held back: it gets only calls that name it, until it is enabled again or a newer version is registered.`,
        ],
        button: 'Roll back', path: '/v1/plugins/{name}/rollback', method: 'POST',
      };
    case 'enable':
      return { title: `Enable ${version}`, means: [`${version} takes calls again, also if it was rolled back. Calls that name no version go to the highest enabled release.`], button: 'Enable', path: `${base}/enable`, method: 'POST' };
    case 'disable':
      return {
        title: `Disable ${version}`,
        means: [current ? 'It gets the calls now: they go to the next lower version that is enabled, or are refused with not_found if there is none.' : 'Calls that name it are refused with not_found.', 'Calls under way end first. It can be enabled again.'],
        button: 'Disable', path: `${base}/disable`, method: 'POST',
      };
    case 'remove':
      return {
        title: `Remove ${version}`,
        means: [...(current ? ['It gets the calls now.'] : []), 'Calls under way end first, then its package and environment are deleted. What it did stays in the invocations and logs. To have it back it must be registered again.'],
        button: 'Remove', path: base, method: 'DELETE',
      };
  }
}
