// A list shows the first arguments of a call, so that calls can be told apart. What the ledger gives is the
// beginning of a JSON document, cut anywhere: a parser would refuse it, so this reads as far as it gets.

export interface Argument {
  key: string;
  value: string;
}

const VALUE_MAX = 60;

class Reader {
  at = 0;
  constructor(readonly text: string) {}

  space(): void {
    while (this.at < this.text.length && ' \t\r\n'.includes(this.text[this.at]!)) this.at++;
  }

  /** A string whose quote stands here, without its quotes; to the end of the text if it was cut. */
  string(): string {
    let out = '';
    this.at++;
    while (this.at < this.text.length) {
      const c = this.text[this.at++]!;
      if (c === '"') return out;
      if (c !== '\\') {
        out += c;
        continue;
      }
      const escape = this.text[this.at++];
      if (escape === undefined) break;
      if (escape === 'u') {
        const code = Number.parseInt(this.text.slice(this.at, this.at + 4), 16);
        this.at += 4;
        if (!Number.isNaN(code)) out += String.fromCharCode(code);
      } else out += { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' }[escape] ?? escape;
    }
    return out + '\u2026';
  }

  /** Passes over one value and returns it as short text. */
  value(): string {
    this.space();
    const c = this.text[this.at];
    if (c === undefined) return '\u2026';
    if (c === '"') return shorten(this.string());
    if (c === '{' || c === '[') return this.nested();
    const begin = this.at;
    while (this.at < this.text.length && !',}] \t\r\n'.includes(this.text[this.at]!)) this.at++;
    return this.text.slice(begin, this.at) + (this.at === this.text.length ? '\u2026' : '');
  }

  private nested(): string {
    const begin = this.at;
    let depth = 0;
    while (this.at < this.text.length) {
      const c = this.text[this.at]!;
      if (c === '"') {
        this.string();
        continue;
      }
      this.at++;
      if (c === '{' || c === '[') depth++;
      else if ((c === '}' || c === ']') && --depth === 0) return shorten(this.text.slice(begin, this.at));
    }
    return shorten(this.text.slice(begin) + '\u2026');
  }
}

function shorten(text: string): string {
  return text.length <= VALUE_MAX ? text : text.slice(0, VALUE_MAX - 1) + '\u2026';
}

/** The arguments that the beginning of an input's JSON holds; one without a key if it is no object. */
export function firstArguments(preview: string | undefined): Argument[] {
  if (!preview) return [];
  const reader = new Reader(preview);
  reader.space();
  if (preview[reader.at] !== '{') return [{ key: '', value: reader.value() }];
  reader.at++;
  const found: Argument[] = [];
  for (;;) {
    reader.space();
    const c = preview[reader.at];
    if (c === ',') {
      reader.at++;
      continue;
    }
    if (c !== '"') return found;
    const key = reader.string();
    reader.space();
    if (preview[reader.at] !== ':') return found;
    reader.at++;
    found.push({ key, value: reader.value() });
  }
}
