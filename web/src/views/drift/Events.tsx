import type { DriftEvent } from '../../api/model';
import { plainLine } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Badge, type Tone } from '../../parts/Badge';
import { Text } from '../../parts/Text';
import { Time } from '../../parts/Time';
import { longName, name } from './model';

const WORDS: Record<string, [string, Tone]> = {
  'drift.detected': ['detected', 'bad'],
  'drift.warned': ['warned', 'warn'],
  'drift.resolved': ['resolved', 'good'],
  'drift.baseline_pinned': ['baseline pinned', 'info'],
};

/** Links to calls for one event; the rest is in the field's own list. */
const EXAMPLES_MOST = 3;

/** What happened, newest first. `about`: what is known from where it stands, and need not be said. */
export function Events({ items, about = 'all', label }: { items: DriftEvent[]; about?: 'all' | 'version' | 'field'; label: string }) {
  return (
    <ol class="drift-events" aria-label={label}>
      {items.map((event) => {
        const [word, tone] = WORDS[event.type] ?? [plainLine(event.type), 'quiet'];
        const to = addressOf.drift(event.plugin, { version: event.version, field: event.field });
        return (
          <li key={event.id} class="drift-event">
            <Badge word={word} tone={tone} />
            <span class="drift-event-what">
              {about === 'all' && <a class="strong" href={to}>{event.plugin} {event.version}</a>}{' '}
              {about !== 'field' && event.field && (about === 'all' ? <code title={longName(event.field)}>{name(event.field)}</code> : <a href={to} title={longName(event.field)}><code>{name(event.field)}</code></a>)}{' '}
              <span class="wrap-text"><Text of={event.summary} /></span>{' '}
              {event.examples.slice(0, EXAMPLES_MOST).map((one, index) => (
                <a key={one.invocation_id} class="drift-event-call" href={addressOf.invocation(one.invocation_id)}>call {index + 1}<span class="off-screen"> that shows it</span></a>
              ))}
            </span>
            <span class="muted nowrap"><Time at={event.at} /> <Time at={event.at} relative /></span>
          </li>
        );
      })}
    </ol>
  );
}
