import { useSignal } from '@preact/signals';
import type { ApiError } from '../api/client';
import { setToken } from '../api/client';
import { addressOf } from '../lib/router';
import { Text } from './Text';

/** What went wrong, how to help oneself, and where to read on. */
export function ErrorBox({ error, retry, title }: { error: ApiError; retry?: () => void; title?: string }) {
  return (
    <div class="errorbox" role="alert">
      <p class="errorbox-title">
        <strong>{title ?? 'That did not work'}</strong> <code>{error.kind}</code>
        {error.blame && <span class="muted"> blame: {error.blame}</span>}
      </p>
      <p class="wrap-text"><Text of={error.detail} /></p>
      {error.help && <p class="muted wrap-text">help: <Text of={error.help} /></p>}
      {error.status === 401 && <TokenForm />}
      <p class="errorbox-links">
        {retry && <button type="button" class="button button-small" onClick={retry}>Try again</button>}
        {error.docs && <a href={error.docs} target="_blank" rel="noreferrer">About {error.kind}</a>}
        {error.invocationId && <a href={addressOf.invocation(error.invocationId)}>The call</a>}
        {error.traceId && !error.invocationId && <span class="muted mono">trace {error.traceId}</span>}
      </p>
    </div>
  );
}

function TokenForm() {
  const token = useSignal('');
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        setToken(token.value.trim());
        location.reload();
      }}
    >
      <label>
        Token <input type="password" autocomplete="off" value={token.value} onInput={(event) => (token.value = event.currentTarget.value)} />
      </label>
      <button class="button">Use it</button>
    </form>
  );
}
