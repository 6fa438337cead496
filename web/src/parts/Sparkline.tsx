import { useMemo } from 'preact/hooks';

const WIDTH = 120;
const HEIGHT = 24;

/** Calls as an area, errors as bars in it. Its numbers are in the label; the picture is for the shape. */
export function Sparkline({ calls, errors, label }: { calls: number[]; errors: number[]; label: string }) {
  const { area, line, bars } = useMemo(() => shape(calls, errors), [calls, errors]);
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="spark-area" d={area} />
      <path class="spark-line" d={line} />
      <path class="spark-bars" d={bars} />
    </svg>
  );
}

export function shape(calls: number[], errors: number[]): { area: string; line: string; bars: string } {
  const top = Math.max(1, ...calls);
  const step = WIDTH / Math.max(1, calls.length - 1);
  const y = (value: number) => (HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1);
  const points = calls.map((value, index) => `${(index * step).toFixed(1)} ${y(value)}`);
  const line = points.length ? `M${points.join('L')}` : '';
  const area = line && `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`;
  const bars = errors
    // One error among thousands is a dot that can be seen.
    .map((value, index) => (value > 0 ? `M${(index * step).toFixed(1)} ${HEIGHT}V${Math.min(Number(y(value)), HEIGHT - 3)}` : ''))
    .join('');
  return { area, line, bars };
}
