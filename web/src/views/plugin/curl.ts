/** For a POSIX shell: whatever the text holds, it is one word. */
export function quote(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}

/** The same call from a terminal. A token is named, never written out. */
export function curlOf(origin: string, plugin: string, body: unknown, withToken: boolean): string {
  return [
    `curl -sS ${quote(`${origin}/v1/plugins/${encodeURIComponent(plugin)}/invoke`)}`,
    ...(withToken ? [`  -H "authorization: Bearer $SPANGLASS_TOKEN"`] : []),
    `  -H 'content-type: application/json'`,
    `  -d ${quote(JSON.stringify(body))}`,
  ].join(' \\\n');
}
