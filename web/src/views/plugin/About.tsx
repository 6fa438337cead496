import type { ComponentChildren } from 'preact';
import type { Plugin } from '../../api/model';
import { ratio } from '../../lib/format';
import { plain } from '../../lib/plain';
import { addressOf } from '../../lib/router';
import { Json } from '../../parts/Code';

/** What the manifest and the operator say of it. */
export function About({ plugin }: { plugin: Plugin }) {
  const { slo, config, secrets, dependencies } = plugin;
  return (
    <div class="facts">
      <Card title="Plugin">
        <Pairs
          of={[
            ['Description', plain(plugin.description ?? '')],
            ['Owner', plain(plugin.owner ?? '')],
            ['Runtime', plugin.runtime],
            ['Actions', plugin.actions?.join(', ')],
            ['Found in', plugin.origin ?? 'registered over HTTP'],
            ['Workers', plugin.start && (plugin.start.mode === 'fork' ? 'copies of a process that has loaded it' : `started one by one${plugin.start.reason ? `: ${plugin.start.reason}` : ''}`)],
            ['Expected', plugin.expect_every && `at least one call every ${plugin.expect_every}; longer silence is an alert`],
          ]}
        />
      </Card>
      <Card title="What it promises">
        {slo ? (
          <Pairs
            of={[
              ['Availability', slo.availability && `${ratio(slo.availability)} of the calls succeed, over ${slo.window}`],
              ['Latency', slo.latency && `${ratio(slo.latency.target)} of the calls take less than ${slo.latency.under}`],
            ]}
          />
        ) : <p class="muted">Nothing: the manifest has no <code>slo</code>.</p>}
      </Card>
      <Card title="Limits"><Pairs of={Object.entries(plugin.limits ?? {}).map(([name, value]) => [name, limit(value)])} mono /></Card>
      <Card title="Secrets">
        {secrets?.length ? <ul>{secrets.map((name) => <li key={name}><code>{name}</code></li>)}</ul> : <p class="muted">None.</p>}
        {Boolean(secrets?.length) && <p class="muted">Only names are known here; values never leave the server.</p>}
      </Card>
      <Card title="Dependencies">
        {dependencies?.length
          ? <ul>{dependencies.map((one) => <li key={one.name}><a href={addressOf.plugin(one.name)}>{one.name}</a> <span class="mono">{one.version}</span>{!one.required && <span class="muted"> optional</span>}</li>)}</ul>
          : <p class="muted">None.</p>}
      </Card>
      <Card title="Config">{config && Object.keys(config).length ? <Json value={config} /> : <p class="muted">None.</p>}</Card>
      <Card title="Input schema">{plugin.input_schema ? <Json value={plugin.input_schema} /> : <p class="muted">None: any object.</p>}</Card>
      <Card title="Output schema">{plugin.output_schema ? <Json value={plugin.output_schema} /> : <p class="muted">None: anything.</p>}</Card>
    </div>
  );
}

function Card({ title, children }: { title: string; children: ComponentChildren }) {
  return <section class="card"><h2>{title}</h2>{children}</section>;
}

function Pairs({ of, mono }: { of: [string, ComponentChildren][]; mono?: boolean }) {
  return (
    <dl class="pairs">
      {of.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) => (
        <><dt key={name}>{name}</dt><dd class={mono ? 'mono' : undefined}>{value}</dd></>
      ))}
    </dl>
  );
}

function limit(value: unknown): string {
  if (value === null) return 'none';
  if (typeof value !== 'object') return String(value);
  return Object.entries(value as Record<string, unknown>).map(([name, one]) => `${name} ${limit(one)}`).join(', ');
}
