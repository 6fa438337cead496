import { useSignal } from '@preact/signals';
import { asApiError, request, type ApiError } from '../../api/client';
import type { Plugin } from '../../api/model';
import { Dialog } from '../../parts/Dialog';
import { ErrorBox } from '../../parts/ErrorBox';
import { explain, type Change } from './change';

/** Says what will happen before it does, and asks why: the answer stands in the plugin's history. */
export function ChangeDialog({ plugin, change, onClose, onDone }: { plugin: Plugin; change: Change; onClose: () => void; onDone: () => void }) {
  const { title, means, button, path, method } = explain(change, plugin);
  const reason = useSignal('');
  const busy = useSignal(false);
  const error = useSignal<ApiError | null>(null);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    busy.value = true;
    error.value = null;
    try {
      await request(method, path, {
        path: { name: plugin.name, version: change.version },
        query: { ...(change.what === 'rollback' ? { to: change.version } : {}), by: 'page', reason: reason.value.trim() },
      });
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
        {means.map((text) => <p key={text}>{text}</p>)}
        <label class="field">
          <span class="field-label"><span class="field-name">Why</span> <span class="field-type">optional, stands in the history</span></span>
          <input autofocus maxLength={200} value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} placeholder="wrong totals" />
        </label>
        {error.value && <ErrorBox error={error.value} title="Nothing was changed" />}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>Cancel</button>
          <button class={`button ${change.what === 'remove' ? 'button-bad' : 'button-main'}`} disabled={busy.value}>{button}</button>
        </div>
      </form>
    </Dialog>
  );
}
