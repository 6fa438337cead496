import { Component, type ComponentChildren } from 'preact';

/** A view that breaks takes nothing else with it. */
export class ErrorBoundary extends Component<{ children: ComponentChildren; name: string }, { error: Error | null }> {
  override state = { error: null as Error | null };

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ error: error instanceof Error ? error : new Error(String(error)) });
  }

  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div class="errorbox" role="alert">
        <p class="errorbox-title"><strong>This view broke</strong> <span class="muted">{this.props.name}</span></p>
        <p class="mono wrap-text">{error.message}</p>
        <details><summary>Where</summary><pre class="code">{error.stack}</pre></details>
        <p class="errorbox-links">
          <button type="button" class="button button-small" onClick={() => this.setState({ error: null })}>Try again</button>
          <button type="button" class="button button-small" onClick={() => location.reload()}>Load the page anew</button>
        </p>
      </div>
    );
  }
}
