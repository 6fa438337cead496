// Input and output as they are kept: redacted, and cut at the bound.

import type { JSX } from 'preact';
import type { Invocation } from '../../api/model';
import { Badge } from '../../parts/Badge';
import { JsonView } from '../../parts/JsonView';

export function Payload({ call }: { call: Invocation }): JSX.Element {
  return (
    <div class="payload">
      <Side title="Input" value={call.input} truncated={call.input_truncated} redacted={call.input_redacted} name={`${call.plugin}-input`} />
      {call.state === 'done' ? (
        <Side title="Output" value={call.output} truncated={call.output_truncated} redacted={call.output_redacted} name={`${call.plugin}-output`} none={call.outcome === 'replied' ? undefined : 'There is no output: the call did not end with a reply.'} />
      ) : (
        <section>
          <h3>Output</h3>
          <p class="muted">The call is under way.</p>
        </section>
      )}
    </div>
  );
}

function Side({ title, value, truncated, redacted, none, name }: { title: string; value: unknown; truncated: boolean | undefined; redacted: boolean | undefined; none?: string | undefined; name: string }): JSX.Element {
  const absent = value === undefined || (value === null && none !== undefined);
  return (
    <section aria-label={title}>
      <h3>
        {title} {truncated && <Badge word="truncated" tone="warn" title="Larger than capture.max: only its beginning is kept" />}{' '}
        {redacted && <Badge word="redacted" tone="info" title="Fields that the schema marks writeOnly or x-sensitive were replaced before they were kept" />}
      </h3>
      {absent ? <p class="muted">{none ?? 'It is not kept: the ledger does not capture it.'}</p> : <JsonView value={value} label={title} name={name} />}
      {truncated && <p class="muted">What is missing was never kept.</p>}
    </section>
  );
}
