import { plain } from '../lib/plain';

/** A sentence of the server's, which may repeat what a plugin said: what stands between backticks is code, all else is text. Line breaks stay. */
export function Text({ of }: { of: string }) {
  const parts = plain(of).split(/`([^`\n]+)`/);
  return <>{parts.map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}</>;
}
