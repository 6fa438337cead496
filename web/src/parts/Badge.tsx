// A state as a word with a mark before it: the colour is never the only sign.
import type { ComponentChildren } from 'preact';

export type Tone = 'good' | 'bad' | 'warn' | 'info' | 'quiet';

const MARKS: Record<Tone, string> = { good: '●', bad: '✕', warn: '▲', info: '◆', quiet: '○' };

/** By word: outcomes, states of plugins, calls, alerts, drift and checks, severities. What is unknown is quiet. */
const TONES: Record<string, Tone> = {
  replied: 'good', failed: 'bad', dropped: 'quiet', queued: 'quiet', done: 'good',
  running: 'good', registered: 'quiet', initialized: 'quiet', destroyed: 'quiet',
  firing: 'bad', pending: 'warn', resolved: 'good',
  ok: 'good', note: 'info', warning: 'warn', degraded: 'warn',
  insufficient: 'quiet', warn: 'warn', alert: 'bad', waiting: 'quiet', capturing: 'info',
  page: 'bad', ticket: 'warn',
  caller: 'info', plugin: 'bad', host: 'warn',
};

export function toneOf(word: string): Tone {
  return TONES[word] ?? 'quiet';
}

export function Badge({ word, tone = toneOf(word), title, children }: { word: string; tone?: Tone; title?: string; children?: ComponentChildren }) {
  return (
    <span class={`badge badge-${tone}`} title={title}>
      <span class="badge-mark" aria-hidden="true">{MARKS[tone]}</span>
      {children ?? word}
    </span>
  );
}

/** How a call ended: the kind of its error where there is one, or what it is doing. */
export function OutcomeBadge({ outcome, state = 'done', kind }: { outcome: string | null | undefined; state?: string; kind?: string | null | undefined }) {
  if (!outcome) return <Badge word={state} tone={state === 'running' ? 'info' : 'quiet'} />;
  return <Badge word={outcome}>{outcome === 'failed' && kind ? kind : outcome}</Badge>;
}
