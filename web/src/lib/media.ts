import { signal, type Signal } from '@preact/signals';

function media(query: string): Signal<boolean> {
  const list = matchMedia(query);
  const value = signal(list.matches);
  list.addEventListener('change', () => (value.value = list.matches));
  return value;
}

/** Too narrow for columns: rows have two lines. */
export const narrow = media('(max-width: 720px)');
