// What a plugin prints is data of a stranger. It is only ever set as text, never as HTML; and here, what would
// steer a terminal, or turn the direction of the text, is taken out or made a visible sign, so that a line
// cannot look like what it is not.

// CSI, OSC (until BEL or ST, or to the end of its line), and the two-byte sequences; also their one-byte C1 forms.
const ANSI =
  // eslint-disable-next-line no-control-regex
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b\]|\u009d)[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?|\u001b[PX^_][^\u001b\u009c\n]*(?:\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g;

// C0 without tab and newline, DEL, C1; marks that turn or isolate the direction; characters without width; a byte order mark.
const HIDDEN =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

function sign(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  return '\u27e8U+' + code.toString(16).toUpperCase().padStart(4, '0') + '\u27e9';
}

/** Text for several lines: newlines and tabs stay. */
export function plain(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(ANSI, '').replace(HIDDEN, sign);
}

/** Text for one line: newlines and tabs are signs too. */
export function plainLine(text: string): string {
  return plain(text).replace(/\n/g, '\u21b5').replace(/\t/g, '\u2192 ');
}

/** One line of at most so many characters: a name that a plugin chose may be a book. */
export function cutLine(text: string, most: number): string {
  // Before anything else: what is cut away costs nothing. A character has at most two code units.
  const line = plainLine(text.slice(0, most * 2 + 2));
  const characters = Array.from(line);
  return characters.length > most || text.length > most * 2 + 2 ? `${characters.slice(0, most).join('')}…` : line;
}
