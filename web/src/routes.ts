// Which view stands at which address. A view is a folder of `views/` whose default export takes what the address says.
import type { ComponentType } from 'preact';
import Plugins from './views/plugins/plugins';
import Alerts from './views/alerts/alerts';
import Health from './views/health/health';

export interface ViewProps {
  params: Record<string, string>;
}

type View = ComponentType<ViewProps>;

export interface Route {
  path: string;
  title: (params: Record<string, string>) => string;
  /** Which entry of the navigation is marked. */
  section: string;
  view: View | (() => Promise<{ default: View }>);
  /** `view` loads a part of its own. Its file name is the name of that part: keep these few. */
  lazy?: boolean;
}

export const ROUTES: Route[] = [
  { path: '/', title: () => 'Plugins', section: '/', view: Plugins },
  { path: '/plugins/{name}', title: ({ name }) => name ?? '', section: '/', view: () => import('./views/plugin/plugin'), lazy: true },
  { path: '/invocations', title: () => 'Invocations', section: '/invocations', view: () => import('./views/invocations/invocations'), lazy: true },
  { path: '/invocations/{id}', title: ({ id }) => `Invocation ${id?.slice(-8)}`, section: '/invocations', view: () => import('./views/invocation/invocation'), lazy: true },
  { path: '/traces/{trace_id}', title: ({ trace_id }) => `Trace ${trace_id?.slice(0, 8)}`, section: '/invocations', view: () => import('./views/invocation/invocation').then((part) => ({ default: part.TraceView })), lazy: true },
  { path: '/logs', title: () => 'Logs', section: '/logs', view: () => import('./views/logs/logs'), lazy: true },
  { path: '/errors', title: () => 'Errors', section: '/errors', view: () => import('./views/errors/errors'), lazy: true },
  { path: '/alerts', title: () => 'Alerts', section: '/alerts', view: Alerts },
  { path: '/drift', title: () => 'Drift', section: '/drift', view: () => import('./views/drift/drift'), lazy: true },
  { path: '/drift/{plugin}', title: ({ plugin }) => `Drift of ${plugin}`, section: '/drift', view: () => import('./views/drift/drift').then((part) => ({ default: part.VersionView })), lazy: true },
  { path: '/health', title: () => 'Health', section: '/health', view: Health },
  { path: '/api', title: () => 'API', section: '/api', view: () => import('./views/api/api'), lazy: true },
];

export const NAVIGATION: { to: string; label: string; key: string }[] = [
  { to: '/', label: 'Plugins', key: 'p' },
  { to: '/invocations', label: 'Invocations', key: 'i' },
  { to: '/logs', label: 'Logs', key: 'l' },
  { to: '/errors', label: 'Errors', key: 'e' },
  { to: '/alerts', label: 'Alerts', key: 'a' },
  { to: '/drift', label: 'Drift', key: 'r' },
  { to: '/health', label: 'Health', key: 'h' },
  { to: '/api', label: 'API', key: 'd' },
];
