// Light, dark, or what the system says. Kept where only this browser sees it.
import { signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'spanglass.theme';
const THEMES: Theme[] = ['system', 'light', 'dark'];

function kept(): Theme {
  try {
    const value = localStorage.getItem(KEY) as Theme | null;
    return value && THEMES.includes(value) ? value : 'system';
  } catch {
    return 'system';
  }
}

export const theme = signal<Theme>('system');
/** What is really shown; canvases are drawn anew when it changes. */
export const shownTheme = signal<'light' | 'dark'>('light');

const dark = typeof matchMedia === 'function' ? matchMedia('(prefers-color-scheme: dark)') : null;

function apply(): void {
  const root = document.documentElement;
  if (theme.value === 'system') delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  shownTheme.value = theme.value === 'system' ? (dark?.matches ? 'dark' : 'light') : theme.value;
}

export function startTheme(): void {
  theme.value = kept();
  dark?.addEventListener('change', apply);
  apply();
}

export function nextTheme(): void {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? 'system';
  theme.value = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  apply();
}

/** The value of a CSS variable as it is now, for canvases. */
export function cssColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
