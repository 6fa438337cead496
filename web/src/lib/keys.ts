// Keyboard shortcuts: one registry, so that the overlay under `?` cannot lie.
import { useEffect, useRef } from 'preact/hooks';
import { signal } from '@preact/signals';

export interface Shortcut {
  /** `?`, `/`, `j`, `Escape`, or two after each other: `g p`. */
  keys: string;
  what: string;
  group: string;
  run: (event: KeyboardEvent) => void | boolean;
  /** Not shown in the overlay. */
  hidden?: boolean;
}

export const shortcuts = signal<Shortcut[]>([]);
export const overlayOpen = signal(false);

const PAIR_MS = 1200;
let first: { key: string; at: number } | null = null;

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Which shortcut a key completes; later registrations win, so that a view can take a key over. */
export function find(list: Shortcut[], before: string | null, key: string): Shortcut | null {
  const matches = (keys: string) => list.filter((one) => one.keys === keys).at(-1) ?? null;
  return (before && matches(`${before} ${key}`)) || matches(key);
}

export function startKeys(): void {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) {
      if (event.key === 'Escape') (event.target as HTMLElement).blur();
      return;
    }
    // A dialog has its own keys.
    if (document.querySelector('dialog[open]')) return;
    // Buttons and links are pressed with Enter.
    if (event.key === 'Enter' && (event.target as HTMLElement).closest?.('a, button, summary')) return;
    const before = first && event.timeStamp - first.at < PAIR_MS ? first.key : null;
    const found = find(shortcuts.value, before, event.key);
    first = found || !shortcuts.value.some((one) => one.keys.startsWith(`${event.key} `)) ? null : { key: event.key, at: event.timeStamp };
    if (found && found.run(event) !== false) event.preventDefault();
  });
}

export function register(list: Shortcut[]): () => void {
  shortcuts.value = [...shortcuts.value, ...list];
  return () => {
    shortcuts.value = shortcuts.value.filter((one) => !list.includes(one));
  };
}

/** Shortcuts for as long as a component is there. Always runs the newest closure. */
export function useShortcuts(list: Shortcut[]): void {
  const newest = useRef(list);
  newest.current = list;
  useEffect(
    () =>
      register(
        list.map((one, index) => ({ ...one, run: (event: KeyboardEvent) => newest.current[index]?.run(event) })),
      ),
    // The keys of a component do not change while it lives.
    [],
  );
}
