import { shortcuts, type Shortcut } from '../lib/keys';
import { Dialog } from './Dialog';

/** All keys that do something now. */
export function Help({ onClose }: { onClose: () => void }) {
  const groups = new Map<string, Map<string, Shortcut>>();
  for (const one of shortcuts.value) {
    if (one.hidden) continue;
    const group = groups.get(one.group) ?? new Map<string, Shortcut>();
    group.set(one.keys, one);
    groups.set(one.group, group);
  }
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <div class="keys">
        {[...groups].map(([group, list]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {[...list.values()].map((one) => (
                <div key={one.keys}>
                  <dt>{one.keys.split(' ').map((key) => <kbd key={key}>{key === 'Escape' ? 'Esc' : key}</kbd>)}</dt>
                  <dd>{one.what}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
