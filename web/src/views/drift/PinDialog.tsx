import { useSignal } from '@preact/signals';
import { asApiError, post, type ApiError } from '../../api/client';
import type { VersionDrift } from '../../api/model';
import { Dialog } from '../../parts/Dialog';
import { ErrorBox } from '../../parts/ErrorBox';
import { pinMeans, type Pin } from './model';

/** Says what will be normal from then on, before it is. */
export function PinDialog({ pin, drift, onClose, onDone }: { pin: Pin; drift: VersionDrift; onClose: () => void; onDone: () => void }) {
  const { title, means, from } = pinMeans(pin, drift);
  const busy = useSignal(false);
  const error = useSignal<ApiError | null>(null);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    busy.value = true;
    error.value = null;
    try {
      await post('/v1/plugins/{name}/baselines', undefined, { path: { name: drift.plugin }, query: { version: drift.version, from } });
      onDone();
      onClose();
    } catch (failure) {
      error.value = asApiError(failure);
      busy.value = false;
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        {means.map((text) => <p key={text} class="wrap-text">{text}</p>)}
        {error.value && <ErrorBox error={error.value} title="Nothing was pinned" />}
        <div class="dialog-actions">
          <button type="button" class="button" autofocus onClick={onClose}>Cancel</button>
          <button class="button button-main" disabled={busy.value}>Pin it</button>
        </div>
      </form>
    </Dialog>
  );
}
