// One field: a line with its numbers, and under it, when it is open, both distributions, why, since when, and which calls.
import { useId, useMemo } from 'preact/hooks';
import type { DriftEvent, DriftExample, DriftField, VersionDrift } from '../../api/model';
import { exact, ratio } from '../../lib/format';
import { plainLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Badge } from '../../parts/Badge';
import { Chart } from '../../parts/Chart';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import { Bins } from './Bins';
import { Events } from './Events';
import { Trend } from './Trend';
import { chartOf, labelOf, longName, missing, name, pvalue, score } from './model';

const EVENTS_MOST = 5;
/** A dispersion from which the baseline is said to be uneven. */
const UNEVEN = 1.2;

interface Props {
  field: DriftField;
  drift: VersionDrift;
  events: DriftEvent[];
  open: boolean;
  onToggle: () => void;
}

export function FieldCard({ field, drift, events, open, onToggle }: Props) {
  const id = useId();
  const wanting = missing(field, drift.settings, drift);
  return (
    <article class={`card drift-field drift-field-${field.state}`} data-field={field.field} aria-label={name(field.field)}>
      <div class="field-line">
        <h3 class="field-head">
          <button type="button" class="field-open" aria-expanded={open} aria-controls={id} onClick={onToggle}>
            <span class="field-mark" aria-hidden="true">{open ? '▾' : '▸'}</span> <code title={longName(field.field)}>{name(field.field)}</code>
          </button>
        </h3>
        <span class="field-state"><Badge word={field.state} /> {field.since && <span class="muted nowrap">since <Time at={field.since} relative /></span>}</span>
        {wanting === null ? <Numbers field={field} /> : <span class="field-wanting muted">{wanting}</span>}
        {wanting === null && <Trend history={field.history} threshold={drift.settings.min_effect} />}
      </div>
      <div id={id} hidden={!open} class="field-body">{open && <Body field={field} drift={drift} events={events} />}</div>
    </article>
  );
}

/** What is compared at a glance. */
function Numbers({ field }: { field: DriftField }) {
  return (
    <span class="field-numbers">
      <span>PSI <strong>{score(field.effect)}</strong></span>
      <span>p <strong>{pvalue(field.pvalue)}</strong></span>
      {Boolean(field.null_ratio || field.baseline_null_ratio) && <span>null <strong>{change(field)}</strong></span>}
      {Boolean(field.new_category_ratio) && <span>unseen <strong>{ratio(field.new_category_ratio)}</strong></span>}
    </span>
  );
}

const change = (field: DriftField): string => `${ratio(field.baseline_null_ratio)} → ${ratio(field.null_ratio)}`;

function Body({ field, drift, events }: Omit<Props, 'open' | 'onToggle'>) {
  const { long } = field;
  const { settings } = drift;
  const chart = useMemo(() => chartOf(field.history, settings.min_effect), [field.history, settings.min_effect]);
  const judged = field.state !== 'insufficient';
  return (
    <>
      {field.reason && <p class="wrap-text"><Text of={field.reason} /></p>}
      <div class="field-parts">
        <Bins field={field} />
        <div class="field-side">
          <dl class="pairs">
            <dt>Kind</dt><dd>{KINDS[field.kind] ?? plainLine(field.kind)}</dd>
            <dt>Values</dt><dd>{exact(field.samples)} in the window, {exact(field.baseline_samples)} in the baseline</dd>
            <dt>PSI</dt><dd>{judged ? <>{score(field.effect)} <span class="muted">{score(field.psi)} of its values alone</span></> : NOT_YET}</dd>
            <dt>Jensen-Shannon</dt><dd>{judged ? <>{score(field.js)} <span class="muted">0 alike, 1 nothing in common</span></> : NOT_YET}</dd>
            <dt>p-value</dt><dd>{judged ? <>{pvalue(field.pvalue)} <span class="muted">adjusted for all tests and windows</span></> : NOT_YET}</dd>
            <dt>Null or absent</dt><dd>{judged ? change(field) : NOT_YET}</dd>
            <dt>Unseen</dt><dd>{judged ? ratio(field.new_category_ratio) : NOT_YET}</dd>
            {field.dispersion >= UNEVEN && <><dt>Dispersion</dt><dd>{score(field.dispersion)} <span class="muted">its baseline varies more than independent calls would; the p-value allows for that</span></dd></>}
            <dt>Long window</dt>
            <dd>
              <Badge word={long.state} />{' '}
              {long.state === 'insufficient'
                ? <span class="muted">{exact(long.samples)} values so far</span>
                : <>PSI {score(long.psi)}, p {pvalue(long.pvalue)} <span class="muted">{exact(long.samples)} values</span></>}
            </dd>
          </dl>
          {chart && <Chart title="PSI, step by step" spec={chart} height={120} />}
        </div>
      </div>
      <Examples items={field.examples} />
      {events.length > 0 && <><h4>Its events</h4><Events items={events.slice(0, EVENTS_MOST)} about="field" label={`Events of ${name(field.field)}, newest first`} /></>}
    </>
  );
}

const NOT_YET = <span class="muted">not known yet</span>;

const KINDS: Record<string, string> = { number: 'number', category: 'category', boolean: 'yes or no', text_length: 'text, by its length in characters', list_size: 'list, by its size' };

/** The way from a number to the calls behind it. */
function Examples({ items }: { items: DriftExample[] }) {
  if (items.length === 0) return null;
  return (
    <>
      <h4>Calls in the bins that grew</h4>
      <ul class="drift-examples">
        {items.map((one) => (
          <li key={one.invocation_id}>
            <a href={addressOf.invocation(one.invocation_id)} class="mono">{one.invocation_id.slice(-8)}</a>{' '}
            <span class="muted"><Time at={one.at} relative />, {labelOf({ kind: 'value', label: one.bin }).text}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
