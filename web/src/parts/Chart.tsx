// A thin wrapper: uPlot is the larger half of the page's script, so it comes when the first chart is shown.
import { useEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import { shownTheme } from '../lib/theme';
import type { ChartHandle, ChartSpec } from './uplot';

export type { ChartSpec, Line, Marker } from './uplot';

/** The place is taken before the chart is there: nothing moves when it comes. */
export function Chart({ spec, height = 160, title }: { spec: ChartSpec | null; height?: number; title: string }) {
  const box = useRef<HTMLDivElement>(null);
  const handle = useRef<ChartHandle | null>(null);
  const newest = useRef(spec);
  newest.current = spec;
  const broken = useSignal(false);
  const theme = shownTheme.value;

  useEffect(() => {
    let gone = false;
    import('./uplot')
      .then(({ draw }) => {
        if (gone || !box.current) return;
        handle.current = draw(box.current, height, newest.current);
      })
      .catch(() => (broken.value = true));
    return () => {
      gone = true;
      handle.current?.destroy();
      handle.current = null;
    };
  }, [theme, height]);
  useEffect(() => handle.current?.update(spec), [spec]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={box} class="chart-box" style={{ minHeight: `${height}px` }} role="img" aria-label={spec?.summary ?? title} />
      {broken.value && <p class="muted">The chart could not be loaded.</p>}
      <ul class="legend">
        {spec?.lines.map((line) => (
          <li key={line.label}>
            <span class={`swatch swatch-${line.colour}${line.dash ? ' swatch-dash' : ''}`} aria-hidden="true" />
            {line.label} <span class="legend-now">{line.now}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}
