import { useMemo } from 'preact/hooks';
import type { DriftPoint } from '../../api/model';
import { HEIGHT, trendOf, WIDTH } from './model';

/** The PSI of the last steps and the threshold, as small as a word. */
export function Trend({ history, threshold }: { history: DriftPoint[]; threshold: number }) {
  const trend = useMemo(() => trendOf(history, threshold), [history, threshold]);
  return (
    <svg class="trend" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} preserveAspectRatio="none" role="img" aria-label={trend.said}>
      <path class="trend-threshold" d={`M0 ${trend.threshold}H${WIDTH}`} />
      <path class="trend-line" d={trend.line} />
    </svg>
  );
}
