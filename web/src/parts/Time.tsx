import { ago, clock, full } from '../lib/format';
import { now } from '../lib/clock';

/** A time, absolute or relative; the other and the zone are in its title. */
export function Time({ at, relative = false }: { at: string | number; relative?: boolean }) {
  const iso = typeof at === 'number' ? new Date(at).toISOString() : at;
  return (
    <time dateTime={iso} title={relative ? full(at) : `${full(at)}, ${ago(at)}`}>
      {relative ? ago(at, now.value) : clock(at)}
    </time>
  );
}
