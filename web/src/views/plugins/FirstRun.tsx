import { Code } from '../../parts/Code';

/** Nothing is registered: the way to a first trace. */
export function FirstRun() {
  const server = location.port === '7717' ? '' : ` --server ${location.origin}`;
  return (
    <section class="card firstrun">
      <h2>No plugin yet. Three commands bring one in:</h2>
      <ol>
        <li><p>Make one: a folder with a manifest, a function and an example.</p><Code text="spanglass plugin new greet" /></li>
        <li><p>Register it here.</p><Code text={`spanglass plugin register greet${server}`} /></li>
        <li><p>Call it. The call is on this page a moment later.</p><Code text={`spanglass invoke greet -f who=Ada --watch${server}`} /></li>
      </ol>
      <p class="muted">Or start the server with <code>spanglass serve --plugins ./plugins</code>: what lies in that folder is registered, and again at each change.</p>
    </section>
  );
}
