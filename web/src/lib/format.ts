// Numbers and times as people read them. Widths are steady where they stand in columns: three significant digits.

const NONE = '–';

function digits(value: number): string {
  const size = Math.abs(value);
  return size >= 99.95 ? value.toFixed(0) : size >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** 0.043 → `43 µs`, 12.3 → `12.3 ms`, 64000 → `1 m 4 s`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return NONE;
  if (ms === 0) return '0 ms';
  if (Math.abs(ms) < 0.9995) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 999.5) return `${digits(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.995) return `${digits(seconds)} s`;
  return span(seconds);
}

/** Seconds as its two largest units: 90061 → `1 d 1 h`. */
export function span(seconds: number): string {
  const units: [string, number][] = [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];
  let left = Math.round(seconds);
  const parts: string[] = [];
  for (const [unit, size] of units) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || '0 s';
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : digits(value)} ${units[unit]}`;
}

/** 1234567 → `1.23 M`; exact up to 9,999. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 10_000) return exact(value);
  if (value < 999_500) return `${digits(value / 1e3)} k`;
  if (value < 999_500_000) return `${digits(value / 1e6)} M`;
  return `${digits(value / 1e9)} G`;
}

/** 1234567 → `1,234,567`. */
export function exact(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : value.toLocaleString('en-US', { maximumFractionDigits: 2 });
}

export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined) return NONE;
  if (perSecond === 0) return '0/s';
  if (perSecond < 0.0995) return `${digits(perSecond * 60)}/min`;
  return `${perSecond < 10_000 ? digits(perSecond) : count(perSecond)}/s`;
}

export function ratio(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const percent = value * 100;
  if (percent === 0) return '0 %';
  if (percent < 0.01) return '<0.01 %';
  return `${percent >= 99.95 ? '100' : percent >= 9.995 ? percent.toFixed(1) : percent.toFixed(2)} %`;
}

/** `12:03:04`, with date if it is not today; in local time. */
export function clock(at: string | number | Date, now = new Date()): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return NONE;
  const hour = time.toLocaleTimeString('en-GB', { hour12: false });
  return time.toDateString() === now.toDateString() ? hour : `${day(time)} ${hour}`;
}

function day(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** For titles: date, time to the millisecond, and the zone. */
export function full(at: string | number | Date): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return NONE;
  const offset = -time.getTimezoneOffset();
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  const zone = offset === 0 ? 'UTC' : `UTC${offset < 0 ? '−' : '+'}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
  return `${day(time)} ${time.toLocaleTimeString('en-GB', { hour12: false })}.${String(time.getMilliseconds()).padStart(3, '0')} ${zone}`;
}

/** `now`, `5 s ago`, `3 m ago`: one unit, so that it is steady. */
export function ago(at: string | number | Date, now: number = Date.now()): string {
  const seconds = Math.round((now - new Date(at).getTime()) / 1000);
  if (!Number.isFinite(seconds)) return NONE;
  const size = Math.abs(seconds);
  if (size < 2) return 'now';
  const text = size < 60 ? `${size} s` : size < 3600 ? `${Math.floor(size / 60)} m` : size < 86400 ? `${Math.floor(size / 3600)} h` : `${Math.floor(size / 86400)} d`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${exact(value)} ${value === 1 ? one : many}`;
}
