// Times of spans have nanoseconds, and many steps last microseconds. `Date` holds milliseconds, and a double
// that counts nanoseconds since 1970 cannot tell neighbours apart: so an instant is two numbers, and only
// differences become milliseconds.

export interface Instant {
  seconds: number;
  nanos: number;
}

const SHAPE = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/i;

/** An RFC 3339 time; null if the text is none. */
export function parseInstant(text: string): Instant | null {
  const match = SHAPE.exec(text);
  if (!match) return null;
  const zone = match[3]!.toUpperCase();
  const whole = Date.parse(match[1]!.replace(' ', 'T') + (zone.length === 5 ? zone.slice(0, 3) + ':' + zone.slice(3) : zone));
  if (Number.isNaN(whole)) return null;
  const nanos = Number(((match[2] ?? '') + '000000000').slice(0, 9));
  return { seconds: whole / 1000, nanos };
}

/** How many milliseconds `later` lies after `earlier`, to the nanosecond. */
export function millisecondsBetween(earlier: Instant, later: Instant): number {
  return (later.seconds - earlier.seconds) * 1000 + (later.nanos - earlier.nanos) / 1e6;
}

export function compareInstants(a: Instant, b: Instant): number {
  return a.seconds - b.seconds || a.nanos - b.nanos;
}

/** RFC 3339 in UTC with all nine digits, `delta` milliseconds later. */
export function shiftInstant(text: string, delta: number): string {
  const at = parseInstant(text);
  if (!at) return text;
  let nanos = at.nanos + Math.round(delta * 1e6);
  const carry = Math.floor(nanos / 1e9);
  nanos -= carry * 1e9;
  return new Date((at.seconds + carry) * 1000).toISOString().slice(0, 19) + '.' + String(nanos).padStart(9, '0') + 'Z';
}

const two = (value: number) => String(value).padStart(2, '0');

/** `06:38:00.555` in local time: lines and calls of one second are told apart. */
export function clockMillis(text: string): string {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return '\u2013';
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}
