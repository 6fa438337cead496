import type { JSX } from 'preact';
import { duration, full } from '../../lib/format';
import { firstArguments } from '../../lib/compact';
import { clockMillis } from '../../lib/instant';
import { plainLine } from '../../lib/plain';
import { memo } from '../../parts/memo';
import type { Invocation } from '../../api/model';
import { barLength } from './model';

interface Props {
  call: Invocation;
  index: number;
  selected: boolean;
  arrived: boolean;
  /** Milliseconds since it began, for a call that runs. */
  elapsed?: number;
}

export const InvocationRow = memo(function InvocationRow({ call, index, selected, arrived, elapsed }: Props): JSX.Element {
  const running = call.state !== 'done';
  const result = running ? call.state : (call.error?.kind ?? call.outcome ?? '');
  const tone = running ? 'running' : (call.outcome ?? 'dropped');
  const ms = running ? (elapsed ?? null) : call.duration_ms;
  return (
    <div role="row" aria-rowindex={index + 2} class={`call-row ${tone} ${selected ? 'selected' : ''} ${arrived ? 'arrived' : ''}`} data-row={index}>
      <span role="cell" class="call-time">
        <a href={`/invocations/${call.invocation_id}`} title={full(call.created_at)} tabIndex={selected ? 0 : -1}>
          {clockMillis(call.created_at)}
        </a>
      </span>
      <span role="cell" class="call-plugin">
        <b>{call.plugin}</b>
        {call.version && <span class="at">@{call.version}</span>}
        {call.action !== 'invoke' && <span class="action">{plainLine(call.action)}</span>}
      </span>
      <Arguments call={call} />
      <span role="cell" class="call-result" title={call.error?.message ? plainLine(call.error.message).slice(0, 300) : undefined}>
        <i class="dot" aria-hidden="true" />
        {result}
        {call.outcome === 'failed' && call.error && <span class="blame">{call.error.blame}</span>}
      </span>
      <span role="cell" class="call-duration">
        <span class="number">{duration(ms)}</span>
        <span class="call-bar" aria-hidden="true">
          <i style={{ width: `${barLength(ms)}%` }} />
        </span>
      </span>
      <span role="cell" class="call-marks">
        {(call.attempts ?? 0) > 1 && (
          <span class="mark attempts" title={`${call.attempts} attempts`}>
            ×{call.attempts}
          </span>
        )}
        {call.cold_start && (
          <span class="mark cold" title="cold start: an instance had to be prepared first">
            cold
          </span>
        )}
      </span>
    </div>
  );
});

function Arguments({ call }: { call: Invocation }): JSX.Element {
  const found = firstArguments(call.input_preview).slice(0, 8);
  return (
    <span role="cell" class="call-arguments" title={call.input_preview ? plainLine(call.input_preview) : undefined}>
      {found.map(({ key, value }, index) => (
        <span key={index}>
          {key !== '' && <span class="key">{plainLine(key)}=</span>}
          <span class={value === '[redacted]' ? 'redacted' : 'value'}>{plainLine(value)}</span>{' '}
        </span>
      ))}
    </span>
  );
}
