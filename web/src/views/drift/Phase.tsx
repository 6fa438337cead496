import type { DriftOverview } from '../../api/model';
import { exact } from '../../lib/format';
import { Badge } from '../../parts/Badge';

/** How far a version has come, with the calls that are still to come while its baseline is captured. */
export function Phase({ phase, capture, label }: { phase: DriftOverview['phase']; capture: DriftOverview['capture']; label: string }) {
  if (phase === 'waiting') return <Badge word="waiting" title="Its baseline has to be pinned by hand" />;
  if (phase === 'watching') return <span>watching</span>;
  return (
    <span class="row capture">
      <Badge word="capturing" title="Its first calls become the baseline" />
      {capture && (
        <>
          <progress max={capture.wanted} value={capture.calls} aria-label={`Calls captured for ${label}`} />
          <span>{exact(capture.calls)} of {exact(capture.wanted)} calls</span>
        </>
      )}
    </span>
  );
}
