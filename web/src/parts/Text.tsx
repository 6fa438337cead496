/** A sentence of the server's: what stands between backticks is code, all else is text. Line breaks stay. */
export function Text({ of }: { of: string }) {
  const parts = of.split(/`([^`\n]+)`/);
  return <>{parts.map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}</>;
}
