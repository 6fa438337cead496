import { plain } from '../lib/plain';
import { CopyButton } from './CopyButton';

/** A command or a piece of text that one wants to copy; what is copied is the text itself. */
export function Code({ text, label = 'Copy' }: { text: string; label?: string }) {
  return (
    <div class="codebox">
      <pre class="code" tabIndex={0}>{plain(text)}</pre>
      <CopyButton text={text} label={label} />
    </div>
  );
}

export function Json({ value }: { value: unknown }) {
  return <Code text={JSON.stringify(value, null, 2) ?? 'null'} />;
}
