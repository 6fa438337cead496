import { Component, h, type ComponentType, type JSX } from 'preact';

/** Draws a component anew only when one of its properties has changed: for rows, of which many stay while the list moves. */
export function memo<P extends object>(inner: ComponentType<P>): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const before = this.props as Record<string, unknown>;
      const after = next as Record<string, unknown>;
      const keys = Object.keys(after);
      return keys.length !== Object.keys(before).length || keys.some((key) => before[key] !== after[key]);
    }
    override render(): JSX.Element {
      return h(inner, this.props as P & JSX.IntrinsicAttributes);
    }
  };
}
