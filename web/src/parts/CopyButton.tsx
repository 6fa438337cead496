import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

/** Copies; also where the page is not on https, as it is on an address of the local network. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'off-screen';
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** `text` may be a function: then it is made when it is copied. */
export function CopyButton({ text, label = 'Copy', title }: { text: string | (() => string); label?: string; title?: string }) {
  const said = useSignal<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    said.value = (await copyText(typeof text === 'function' ? text() : text)) ? 'Copied' : 'Not copied';
    clearTimeout(timer.current);
    timer.current = setTimeout(() => (said.value = null), 1500);
  };
  return (
    <button type="button" class="button button-small copy" title={title} onClick={() => void copy()}>
      {/* Both words lie on each other, so that the width stays. */}
      <span class={said.value ? 'copy-hidden' : undefined}>{label}</span>
      <span class="copy-said" role="status">{said.value}</span>
    </button>
  );
}
