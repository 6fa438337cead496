// All fields of a version: those that drift are open, quiet ones are a line each, and many quiet ones are folded.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { DriftEvent, DriftField, VersionDrift } from '../../api/model';
import { exact, plural } from '../../lib/format';
import { useShortcuts } from '../../lib/keys';
import { currentQuery, setQuery } from '../../lib/router';
import { Empty } from '../../parts/Empty';
import { FieldCard } from './FieldCard';
import { countsOf, groupsOf, OPEN_MOST, QUIET_MOST } from './model';

const STATES = ['alert', 'warn', 'insufficient', 'ok'] as const;

export function Fields({ drift, events }: { drift: VersionDrift; events: DriftEvent[] }) {
  const { q = '', state, field: asked } = currentQuery.value;
  // What a person has opened or closed; all else follows from the state.
  const chosen = useSignal<Record<string, boolean>>({});
  const unfolded = useSignal(false);
  const list = useRef<HTMLDivElement>(null);
  const byHand = useRef<string | null>(null);
  const { drifting, insufficient, quiet } = groupsOf(drift.fields, { q, state });
  const counts = countsOf(drift.fields);
  const first = new Set(drifting.slice(0, OPEN_MOST).map((one) => one.field));
  const isOpen = (field: string) => chosen.value[field] ?? (field === asked || first.has(field));
  const toggle = (field: string) => {
    const open = !isOpen(field);
    chosen.value = { ...chosen.value, [field]: open };
    // A link to this view opens what was opened last.
    byHand.current = field;
    if (open || field === asked) setQuery({ field: open ? field : null });
  };
  const filtered = Boolean(q || state);
  const folded = !filtered && !unfolded.value && quiet.length > QUIET_MOST && !quiet.some((one) => one.field === asked);

  // A link, from outside or from an event below, leads to its field; what is opened by hand is in view already.
  useEffect(() => {
    if (!asked || asked === byHand.current) return;
    chosen.value = { ...chosen.value, [asked]: true };
    const card = [...(list.current?.querySelectorAll<HTMLElement>('[data-field]') ?? [])].find((one) => one.dataset.field === asked);
    card?.scrollIntoView({ block: 'start' });
  }, [asked]);
  const move = (step: number) => {
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>('.field-open') ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, at + step))];
    next?.focus();
    next?.scrollIntoView({ block: 'nearest' });
  };
  useShortcuts([
    { keys: 'j', what: 'Next field', group: 'Lists', run: () => move(1) },
    { keys: 'k', what: 'Field before', group: 'Lists', run: () => move(-1) },
  ]);

  const cards = (fields: DriftField[]) =>
    fields.map((field) => <FieldCard key={field.field} field={field} drift={drift} events={events.filter((event) => event.field === field.field)} open={isOpen(field.field)} onToggle={() => toggle(field.field)} />);
  return (
    <section class="drift-fields" aria-label="Fields">
      <div class="view-head">
        <h2>Fields</h2>
        <div class="segments" role="group" aria-label="State">
          <button type="button" aria-pressed={!state} onClick={() => setQuery({ state: null })}>all {drift.fields.length}</button>
          {STATES.map((one) => <button key={one} type="button" aria-pressed={state === one} onClick={() => setQuery({ state: one })}>{one} {counts[one]}</button>)}
        </div>
        <input type="search" class="drift-search" aria-label="Search fields" placeholder="Search fields" value={q} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
      </div>
      <div ref={list} class="drift-fields-list">
        {drift.fields.length === 0 && <p class="muted card">No field of it is watched.</p>}
        {drift.fields.length > 0 && drifting.length + insufficient.length + quiet.length === 0 && <Empty title="No field fits" filters={['state', 'q']} />}
        {cards(drifting)}
        {cards(insufficient)}
        {folded
          ? <p class="card drift-folded">{exact(quiet.length)} fields are as in the baseline. <button type="button" class="button button-small" onClick={() => (unfolded.value = true)}>Show {plural(quiet.length, 'quiet field')}</button></p>
          : cards(quiet)}
      </div>
    </section>
  );
}
