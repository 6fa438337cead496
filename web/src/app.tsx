// The shell: navigation, live state, theme, keys, and the view that the address names.
import type { ComponentType } from 'preact';
import { computed, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { pauseStream, resumeStream, streamFailure, streamState } from './api/stream';
import { alerts, startAlerts } from './lib/alerts';
import { overlayOpen, useShortcuts } from './lib/keys';
import { cameFromInside, currentPath, match, navigate } from './lib/router';
import { nextTheme, theme } from './lib/theme';
import { ErrorBoundary } from './parts/ErrorBoundary';
import { Help } from './parts/Help';
import { NAVIGATION, ROUTES, type Route, type ViewProps } from './routes';

const found = computed((): { route: Route; params: Record<string, string> } | null => {
  for (const route of ROUTES) {
    const params = match(route.path, currentPath.value);
    if (params) return { route, params };
  }
  return null;
});

export function App() {
  const at = found.value;
  useEffect(startAlerts, []);
  const title = at ? at.route.title(at.params) : 'Nothing here';
  const firing = alerts.value?.filter((alert) => alert.state === 'firing').length ?? 0;
  useEffect(() => {
    document.title = `${firing ? `(${firing}) ` : ''}${title} · spanglass`;
  }, [title, firing]);
  useShortcuts([
    ...NAVIGATION.map(({ to, label, key }) => ({ keys: `g ${key}`, what: label, group: 'Go to', run: () => navigate(to) })),
    { keys: '/', what: 'Search', group: 'Everywhere', run: focusSearch },
    { keys: 'Escape', what: 'Back to the list', group: 'Everywhere', run: back },
    { keys: 't', what: 'Light, dark, as the system', group: 'Everywhere', run: nextTheme },
    { keys: '?', what: 'This help', group: 'Everywhere', run: () => void (overlayOpen.value = true) },
  ]);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to content</a>
      <header class="top">
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" width="20" height="20" /> spanglass
        </a>
        <nav aria-label="Views">
          {NAVIGATION.map(({ to, label, key }) => (
            <a key={to} href={to} aria-current={at?.route.section === to ? 'page' : undefined} title={`g ${key}`}>
              {label}
              {to === '/alerts' && firing > 0 && <span class="count-bad">{firing}<span class="off-screen"> firing</span></span>}
            </a>
          ))}
        </nav>
        <div class="top-end">
          <Live />
          <button type="button" class="button button-small button-quiet" onClick={nextTheme} aria-label={`Theme: ${theme.value}`} title={`Theme: ${theme.value} (t)`}>
            <span aria-hidden="true">{theme.value === 'dark' ? '☾' : theme.value === 'light' ? '☀' : '◐'}</span>
          </button>
          <button type="button" class="button button-small button-quiet" onClick={() => (overlayOpen.value = true)} aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)">?</button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {at ? (
          <ErrorBoundary key={currentPath.value} name={title}>
            {at.route.lazy ? <Lazy route={at.route} params={at.params} /> : <Eager view={at.route.view as ComponentType<ViewProps>} params={at.params} />}
          </ErrorBoundary>
        ) : (
          <div class="empty">
            <h1 class="empty-title">Nothing is at this address</h1>
            <p><a href="/">All plugins</a></p>
          </div>
        )}
      </main>
      {overlayOpen.value && <Help onClose={() => (overlayOpen.value = false)} />}
    </>
  );
}

function Eager({ view: View, params }: { view: ComponentType<ViewProps>; params: Record<string, string> }) {
  return <View params={params} />;
}

const loaded = new Map<string, ComponentType<ViewProps>>();

/** A view that comes when it is first asked for. */
function Lazy({ route, params }: { route: Route; params: Record<string, string> }) {
  const View = useSignal(loaded.get(route.path) ?? null);
  const error = useSignal<Error | null>(null);
  useEffect(() => {
    let gone = false;
    const load = route.view as () => Promise<{ default: ComponentType<ViewProps> }>;
    load()
      .then((part) => {
        loaded.set(route.path, part.default);
        if (!gone) View.value = part.default;
      })
      .catch((reason: unknown) => {
        if (!gone) error.value = reason instanceof Error ? reason : new Error(String(reason));
      });
    return () => {
      gone = true;
    };
  }, [route]);
  if (error.value) throw error.value;
  const Loaded = View.value;
  return Loaded ? <Loaded params={params} /> : <div class="waiting" aria-busy="true" />;
}

const SAID = {
  connecting: ['○', 'connecting'],
  live: ['●', 'live'],
  reconnecting: ['◌', 'reconnecting'],
  paused: ['‖', 'paused'],
  failed: ['✕', 'not live'],
} as const;

function Live() {
  const state = streamState.value;
  const [mark, word] = SAID[state];
  const why = streamFailure.value?.detail;
  const toggle = () => (state === 'live' || state === 'reconnecting' || state === 'connecting' ? pauseStream() : resumeStream());
  return (
    <button type="button" class={`live live-${state}`} onClick={toggle} title={why ?? (state === 'live' ? 'Pause' : 'Go on')}>
      <span aria-hidden="true" class="live-mark">{mark}</span> <span role="status">{word}</span>
    </button>
  );
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** Each view marks its search field with `type="search"`. */
function focusSearch(): boolean {
  const field = document.querySelector<HTMLInputElement>('main input[type="search"]');
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** From one thing to the list that it is in: where one came from, if one did. */
function back(): boolean {
  const section = found.value?.route.section;
  if (!section || section === currentPath.value) return false;
  if (cameFromInside()) history.back();
  else navigate(section);
  return true;
}
