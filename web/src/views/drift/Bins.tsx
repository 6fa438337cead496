import { useSignal } from '@preact/signals';
import type { DriftBin, DriftField } from '../../api/model';
import { exact, ratio } from '../../lib/format';
import { labelOf, longName, scaleOf, shownBins } from './model';

/**
 * Baseline and now, a pair of bars for each bin. It is a table: who does not see the bars reads the shares. The two bars
 * differ by their filling, not only by colour.
 */
export function Bins({ field }: { field: DriftField }) {
  const all = useSignal(false);
  // Below the minimum there is nothing to compare with: a share of some values would look like one of all.
  const known = field.state !== 'insufficient';
  const { bins, rest } = shownBins(field.bins, all.value);
  const scale = scaleOf([...bins, ...(rest ? [rest] : [])], known);
  if (field.bins.length === 0) return <p class="muted">Its bins are made when the baseline is there.</p>;
  return (
    <div class="bins-box">
      <table class="bins">
        <caption class="bins-legend">
          <span class="off-screen">Shares of values by bin: </span>
          <span><i class="bar-baseline" aria-hidden="true" /> baseline</span>{' '}
          {known && <span><i class="bar-current" aria-hidden="true" /> now</span>}
        </caption>
        <thead>
          <tr>
            <th scope="col">Values</th>
            <th scope="col"><span class="off-screen">As bars</span></th>
            <th scope="col" class="number">Baseline</th>
            <th scope="col" class="number">Now</th>
          </tr>
        </thead>
        <tbody>
          {bins.map((bin, index) => <Row key={`${bin.kind} ${index} ${bin.label}`} bin={bin} known={known} scale={scale} />)}
        </tbody>
        {rest && (
          <tfoot>
            <tr>
              <th scope="row"><button type="button" class="button button-small" onClick={() => (all.value = true)}>Show {exact(rest.count)} more</button></th>
              <Bars baseline={rest.baseline} current={known ? rest.current : null} scale={scale} />
              <td class="number">{ratio(rest.baseline)}</td>
              <td class="number">{known ? ratio(rest.current) : '–'}</td>
            </tr>
          </tfoot>
        )}
      </table>
    </div>
  );
}

function Row({ bin, known, scale }: { bin: DriftBin; known: boolean; scale: number }) {
  const { text, special } = labelOf(bin);
  const grew = known && bin.grew;
  return (
    <tr class={grew ? 'grew' : undefined}>
      <th scope="row" title={special ? undefined : longName(bin.label)}>
        {special ? <em>{text}</em> : <span class={bin.kind === 'category' ? 'mono' : undefined}>{text}</span>}
      </th>
      <Bars baseline={bin.baseline} current={known ? bin.current : null} scale={scale} />
      <td class="number" title={`${exact(bin.baseline_count)} values`}>{ratio(bin.baseline)}</td>
      <td class="number" title={known ? `${exact(bin.current_count)} values` : undefined}>
        {grew && <span class="grew-mark"><span aria-hidden="true">▲</span><span class="off-screen">grew to</span> </span>}
        {known ? ratio(bin.current) : '–'}
      </td>
    </tr>
  );
}

function Bars({ baseline, current, scale }: { baseline: number; current: number | null; scale: number }) {
  return (
    <td class="bars">
      <span class="bar-baseline" style={{ width: `${(baseline / scale) * 100}%` }} />
      {current !== null && <span class="bar-current" style={{ width: `${(current / scale) * 100}%` }} />}
    </td>
  );
}
