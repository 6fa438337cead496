import { useSignal } from '@preact/signals';
import { currentQuery, setQuery } from '../lib/router';
import { clock } from '../lib/format';
import { instant } from '../lib/time';

const RANGES: [string, string][] = [['5m', '5 min'], ['15m', '15 min'], ['1h', '1 h'], ['6h', '6 h'], ['24h', '24 h'], ['7d', '7 d']];

/** `since` and `until` of the address: buttons for the last so long, and two fields for anything else. */
export function TimeRange({ standard = '15m' }: { standard?: string }) {
  const { since, until } = currentQuery.value;
  const open = useSignal(false);
  const chosen = until ? null : (since ?? standard);
  const known = RANGES.some(([value]) => value === chosen);
  return (
    <div class="timerange">
      <div class="segments" role="group" aria-label="Time range">
        {RANGES.map(([value, label]) => (
          <button
            key={value}
            type="button"
            aria-pressed={value === chosen}
            onClick={() => {
              open.value = false;
              setQuery({ since: value === standard ? null : value, until: null });
            }}
          >
            {label}
          </button>
        ))}
        <button type="button" aria-pressed={!known} aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
          {known ? 'other' : said(since, until)}
        </button>
      </div>
      {open.value && <Fields since={since} until={until} onDone={() => (open.value = false)} />}
    </div>
  );
}

function said(since: string | undefined, until: string | undefined): string {
  const show = (text: string) => (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text) ? `${text} ago` : clock(text));
  return `${since ? show(since) : 'start'} – ${until ? show(until) : 'now'}`;
}

function Fields({ since, until, onDone }: { since: string | undefined; until: string | undefined; onDone: () => void }) {
  const from = useSignal(local(since));
  const to = useSignal(local(until));
  const value = (text: string) => (text ? new Date(text).toISOString() : null);
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        setQuery({ since: value(from.value), until: value(to.value) });
        onDone();
      }}
    >
      <label>From <input type="datetime-local" step="1" value={from.value} onInput={(event) => (from.value = event.currentTarget.value)} /></label>
      <label>to <input type="datetime-local" step="1" value={to.value} onInput={(event) => (to.value = event.currentTarget.value)} /></label>
      <button class="button">Show</button>
    </form>
  );
}

/** As `datetime-local` wants it: local time without zone. */
function local(text: string | undefined): string {
  const at = instant(text);
  if (at === null) return '';
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
