// A command to paste into a POSIX shell. What it quotes may come from a plugin: the quoting is what keeps it data.

const SAFE = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** One word of a POSIX shell. A NUL cannot be in an argument; it is left out. */
export function quote(word: string): string {
  const text = word.replace(/\0/g, '');
  if (SAFE.test(text)) return text;
  return "'" + text.replace(/'/g, "'\\''") + "'";
}

export interface Request {
  method: string;
  url: string;
  headers?: [string, string][];
  body?: string;
  /** The server asks for a token: it is named as a variable, never printed. */
  token?: boolean;
}

/** The request as a `curl` command, a line each option. */
export function curl({ method, url, headers = [], body, token }: Request): string {
  const lines = ['curl --silent --show-error --globoff ' + quote(url)];
  const natural = body === undefined ? 'GET' : 'POST';
  if (method.toUpperCase() !== natural) lines.push('--request ' + quote(method.toUpperCase()));
  if (token) lines.push('--header "Authorization: Bearer $SPANGLASS_TOKEN"');
  // A line break would make two headers of one.
  for (const [name, value] of headers) lines.push('--header ' + quote(`${name}: ${value}`.replace(/[\r\n]+/g, ' ')));
  // Not --data, which would read a file if the body began with an at sign.
  if (body !== undefined) lines.push('--data-raw ' + quote(body));
  return lines.join(' \\\n  ');
}
