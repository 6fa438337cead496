// The only file that knows uPlot.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { cssColour } from '../lib/theme';
import { full } from '../lib/format';

export interface Line {
  label: string;
  values: (number | null)[];
  /** Number of a colour of the page's palette: `--series-1`… */
  colour: number;
  dash?: boolean;
  fill?: boolean;
  /** The newest value, for the legend. */
  now?: string;
}

/** Something that happened: a line over the chart with a mark that says what. */
export interface Marker {
  at: number;
  label: string;
  detail: string;
  bad?: boolean;
}

export interface ChartSpec {
  /** Seconds since 1970. */
  times: number[];
  /** Shown from and to, also where there are no points. */
  range: [number, number];
  lines: Line[];
  markers?: Marker[];
  format: (value: number) => string;
  /** Each mark is so many times the one before: for values that differ by orders of magnitude. */
  log?: boolean;
  /** The scale has marks at powers of two: bytes. */
  binary?: boolean;
  /** Said to those who do not see the chart. */
  summary: string;
  /** The scale reaches at least so far. */
  topMin?: number;
  onRange?: (from: number, to: number) => void;
}

export interface ChartHandle {
  update(spec: ChartSpec | null): void;
  destroy(): void;
}

/** From below the smallest to above the largest value, in whole thirds of a decade. */
function decades(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || !(max > 0)) return [1, 10];
  const low = 10 ** Math.floor(Math.log10(Math.max(min, max / 1e6)));
  const high = 10 ** (Math.ceil(Math.log10(max) * 3 + 0.2) / 3);
  return [low, Math.max(high, low * 2)];
}

/** A value between gaps has no line: it is a point. */
const lonely: uPlot.Series.Points.Filter = (chart, series) => {
  const values = chart.data[series] ?? [];
  const none = (index: number) => values[index] === null || values[index] === undefined;
  return Array.from(values.keys()).filter((index) => !none(index) && none(index - 1) && none(index + 1));
};

const onlyDecades = (_: uPlot, ticks: number[]): (number | null)[] => ticks.map((tick) => (Math.abs(Math.log10(tick) % 1) < 1e-9 ? tick : null));

const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** Charts with this key show the same instant under the pointer. */
const SYNC = 'spanglass';

export function draw(box: HTMLElement, height: number, first: ChartSpec | null): ChartHandle {
  let spec = first;
  let plot: uPlot | null = null;
  let shape = '';
  const tip = document.createElement('div');
  tip.className = 'chart-tip';
  tip.hidden = true;

  const build = () => {
    plot?.destroy();
    plot = null;
    box.replaceChildren();
    if (!spec) return;
    shape = shapeOf(spec);
    plot = new uPlot(options(spec), data(spec), box);
    plot.over.append(tip);
  };

  const options = (now: ChartSpec): uPlot.Options => {
    const ink = cssColour('--ink-quiet');
    const grid = cssColour('--line-soft');
    const font = '11px system-ui, sans-serif';
    return {
      width: Math.max(120, box.clientWidth),
      height,
      cursor: { sync: { key: SYNC }, points: { size: 6 }, drag: { x: Boolean(now.onRange), y: false, setScale: false }, y: false },
      legend: { show: false },
      padding: [8, 18, 0, 0],
      scales: { x: { range: () => spec?.range ?? [0, 1] }, y: now.log ? { distr: 3, range: (_, min, max) => decades(min, max) } : { range: (_, __, max) => [0, Math.max(spec?.topMin ?? 0, (max ?? 0) * 1.08) || 1] } },
      axes: [
        { stroke: ink, font, size: 24, grid: { stroke: grid, width: 1 }, ticks: { show: false }, space: 70, values: AXIS_TIMES },
        { stroke: ink, font, size: 62, grid: { stroke: grid, width: 1, ...(now.log ? { filter: onlyDecades } : {}) }, ...(now.log ? { filter: onlyDecades } : {}), ticks: { show: false }, space: 32, ...(now.binary ? { incrs: BINARY } : {}), values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : now.format(tick))) },
      ],
      series: [
        {},
        ...now.lines.map((line) => {
          const stroke = cssColour(`--series-${line.colour}`);
          return {
            label: line.label, stroke, width: 1.5, spanGaps: false, points: { show: true, size: 4, fill: stroke, filter: lonely },
            ...(line.dash ? { dash: [5, 4] } : {}),
            ...(line.fill ? { fill: cssColour(`--series-${line.colour}-fill`) || `${stroke}22` } : {}),
          };
        }),
      ],
      hooks: {
        draw: [(chart) => drawMarkers(chart, spec?.markers ?? [])],
        setCursor: [(chart) => showTip(chart)],
        setSelect: [
          (chart) => {
            const { left, width } = chart.select;
            if (width > 4) spec?.onRange?.(chart.posToVal(left, 'x'), chart.posToVal(left + width, 'x'));
            chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          },
        ],
      },
    };
  };

  const showTip = (chart: uPlot) => {
    const index = chart.cursor.idx;
    const left = chart.cursor.left ?? -1;
    // The others show the same instant with their line; their words would cover them.
    if (!spec || index === null || index === undefined || left < 0 || !chart.over.matches(':hover')) {
      tip.hidden = true;
      return;
    }
    const rows: (HTMLElement | string)[] = [element('div', 'chart-tip-time', full((spec.times[index] ?? 0) * 1000).replace(/\.\d+ .*/, ''))];
    for (const line of spec.lines) {
      const value = line.values[index];
      const row = element('div', 'chart-tip-row', '');
      row.append(element('span', `swatch swatch-${line.colour}${line.dash ? ' swatch-dash' : ''}`, ''), element('span', '', line.label), element('span', 'chart-tip-value', value === null || value === undefined ? '–' : spec.format(value)));
      rows.push(row);
    }
    for (const marker of nearby(chart, spec.markers ?? [], left)) {
      const row = element('div', `chart-tip-mark${marker.bad ? ' bad' : ''}`, '');
      row.append(element('strong', '', marker.label), element('span', '', ` ${marker.detail}`));
      rows.push(row);
    }
    tip.replaceChildren(...rows);
    tip.hidden = false;
    const room = chart.over.clientWidth - left;
    tip.style.left = room > tip.offsetWidth + 16 ? `${left + 12}px` : `${Math.max(0, left - tip.offsetWidth - 12)}px`;
  };

  const observer = new ResizeObserver(() => {
    if (plot && box.clientWidth > 0 && Math.abs(plot.width - box.clientWidth) > 1) plot.setSize({ width: box.clientWidth, height });
  });
  observer.observe(box);
  build();

  return {
    update(next) {
      spec = next;
      // Other lines need another chart; other numbers do not.
      if (!next || !plot || shapeOf(next) !== shape) build();
      else plot.setData(data(next));
    },
    destroy() {
      observer.disconnect();
      plot?.destroy();
      box.replaceChildren();
    },
  };
}

const AXIS_TIMES: uPlot.Axis.Values = (_, ticks, __, ___, step) =>
  ticks.map((tick) => {
    const time = new Date(tick * 1000);
    const clock = time.toLocaleTimeString('en-GB', { hour12: false });
    if (step >= 86400) return time.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
    return step >= 60 ? clock.slice(0, 5) : clock;
  });

function shapeOf(spec: ChartSpec): string {
  return spec.lines.map((line) => `${line.label}/${line.colour}/${line.dash}/${line.fill}`).join('|');
}

function data(spec: ChartSpec): uPlot.AlignedData {
  return [spec.times, ...spec.lines.map((line) => line.values)] as uPlot.AlignedData;
}

function element(tag: string, name: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

/** How near, in pixels, the pointer must be to a mark. */
const NEAR = 7;

function nearby(chart: uPlot, markers: Marker[], left: number): Marker[] {
  return markers.filter((marker) => Math.abs(chart.valToPos(marker.at, 'x') - left) <= NEAR).slice(0, 4);
}

function drawMarkers(chart: uPlot, markers: Marker[]): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio || 1;
  ctx.save();
  for (const marker of markers) {
    const x = Math.round(chart.valToPos(marker.at, 'x', true));
    if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
    const colour = cssColour(marker.bad ? '--bad' : '--mark');
    ctx.strokeStyle = colour;
    ctx.fillStyle = colour;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    const size = 4.5 * ratio;
    ctx.beginPath();
    ctx.moveTo(x - size, bbox.top - size);
    ctx.lineTo(x + size, bbox.top - size);
    ctx.lineTo(x, bbox.top + size);
    ctx.fill();
  }
  ctx.restore();
}
