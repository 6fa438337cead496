import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { compareInstants, millisecondsBetween, parseInstant, shiftInstant } from './instant';
import { plain, plainLine } from './plain';
import { HEIGHT_MAX, reveal, slice } from './windowing';
import { curl, quote } from './shell';
import { firstArguments } from './compact';
import { execFileSync } from 'node:child_process';

describe('instants', () => {
  test('keep nanoseconds that a Date would lose', () => {
    const a = parseInstant('2026-11-28T06:38:00.272074604Z')!;
    const b = parseInstant('2026-11-28T06:38:00.272201255Z')!;
    expect(millisecondsBetween(a, b)).toBeCloseTo(0.126651, 9);
    expect(compareInstants(a, b)).toBeLessThan(0);
  });
  test('read offsets, few digits and none, and refuse the rest', () => {
    expect(millisecondsBetween(parseInstant('2026-01-01T00:00:00Z')!, parseInstant('2026-01-01T02:00:00.5+02:00')!)).toBe(500);
    expect(parseInstant('yesterday')).toBeNull();
    expect(parseInstant('2026-13-01T00:00:00Z')).toBeNull();
  });
  test('can be shifted across a second', () => {
    expect(shiftInstant('2026-01-01T00:00:00.999999999Z', 0.000002)).toBe('2026-01-01T00:00:01.000000001Z');
    expect(shiftInstant('2026-01-01T00:00:00.000000000Z', -1)).toBe('2025-12-31T23:59:59.999000000Z');
  });
});

describe('text of plugins', () => {
  test('loses ANSI sequences, whole', () => {
    expect(plain('\u001b[31;1mred\u001b[0m')).toBe('red');
    expect(plain('\u001b]0;title\u0007after')).toBe('after');
    expect(plain('\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\')).toBe('link');
    expect(plain('\u009b2Jgone')).toBe('gone');
    expect(plain('\u001bcreset')).toBe('reset');
  });
  test('shows control characters and marks of direction as signs', () => {
    expect(plain('a\u0000b\u0008c\rd')).toBe('a\u2400b\u2408c\u240dd');
    expect(plain('user\u202e\u2066admin')).toBe('user\u27e8U+202E\u27e9\u27e8U+2066\u27e9admin');
    expect(plain('lonely \u001b')).toBe('lonely \u241b');
  });
  test('keeps lines apart, or shows where they were', () => {
    expect(plain('a\r\nb\tc')).toBe('a\nb\tc');
    expect(plainLine('a\nb\tc')).toBe('a\u21b5b\u2192 c');
  });
  test('takes its time in proportion', () => {
    const begin = performance.now();
    plain('\u001b]'.repeat(100_000));
    plain('\u001b[0'.repeat(100_000));
    expect(performance.now() - begin).toBeLessThan(2000);
  });
});

describe('windowing', () => {
  test('draws what is in view and little more', () => {
    const { from, to, top, total } = slice({ scrollTop: 24_000, height: 600, rowHeight: 24, count: 10_000, overscan: 5 });
    expect([from, to, top, total]).toEqual([995, 1030, 995 * 24, 240_000]);
  });
  test('holds at both ends and for nothing', () => {
    expect(slice({ scrollTop: -50, height: 100, rowHeight: 10, count: 3 })).toEqual({ from: 0, to: 3, top: 0, total: 30 });
    expect(slice({ scrollTop: 9999, height: 100, rowHeight: 10, count: 0 })).toEqual({ from: 0, to: 0, top: 0, total: 0 });
  });
  test('reaches the last of more rows than a browser can scroll to', () => {
    const view = { height: 600, rowHeight: 24, count: 2_000_000, overscan: 0 };
    const end = slice({ ...view, scrollTop: HEIGHT_MAX - 600 });
    expect(end.to).toBe(2_000_000);
    expect(end.total).toBe(HEIGHT_MAX);
    // The last row ends where the scrolled content ends.
    expect(end.top + (end.to - end.from) * 24).toBeCloseTo(HEIGHT_MAX, 3);
    expect(slice({ ...view, scrollTop: 0 }).from).toBe(0);
    const at = reveal(1_234_567, { ...view, scrollTop: 0 });
    const shown = slice({ ...view, scrollTop: at });
    expect(shown.from).toBeLessThanOrEqual(1_234_567);
    expect(shown.to).toBeGreaterThan(1_234_567);
  });
  test('scrolls as little as possible to show a row', () => {
    const view = { scrollTop: 100, height: 100, rowHeight: 10, count: 100 };
    expect(reveal(12, view)).toBe(100);
    expect(reveal(5, view)).toBe(50);
    expect(reveal(25, view)).toBe(160);
  });
});

describe('curl', () => {
  const nasty = `it's "q" $HOME \`id\` \\ !! ; echo pwned \n second # line`;
  // If the quoting is wrong, the shell runs what is in the word: nothing of value may be within its reach.
  const harmless = { encoding: 'utf8', cwd: tmpdir(), env: { PATH: '/nowhere', HOME: '/nowhere' } } as const;
  test('quotes so that a real shell gives back the same bytes', () => {
    for (const word of [nasty, '', "'", "''", '-n', '*', '~', 'a b', '\u00e4\u2603']) {
      expect(execFileSync('/bin/sh', ['-c', `printf %s ${quote(word)}`], harmless)).toBe(word);
    }
  });
  test('leaves harmless words alone', () => {
    expect(quote('http://127.0.0.1:7717/v1/logs')).toBe('http://127.0.0.1:7717/v1/logs');
  });
  test('never prints the token, sends the body as it is, and names the method only where needed', () => {
    const command = curl({ method: 'POST', url: 'http://h/v1/x?q=[a]&b=1', headers: [['content-type', 'application/json']], body: '@{"a":"it\'s"}', token: true });
    expect(command).toContain('"Authorization: Bearer $SPANGLASS_TOKEN"');
    expect(command).toContain("--data-raw '@{\"a\":\"it'\\''s\"}'");
    expect(command).not.toContain('--request');
    expect(command).toContain("--globoff 'http://h/v1/x?q=[a]&b=1'");
    expect(curl({ method: 'DELETE', url: 'http://h/' })).toContain('--request DELETE');
  });
  test('lets no header begin another', () => {
    expect(curl({ method: 'GET', url: 'http://h/', headers: [['a', 'b\r\nc: d']] })).toContain("'a: b c: d'");
  });
});

describe('first arguments', () => {
  test('are read from a whole document', () => {
    expect(firstArguments('{"amount":655.29,"card":"[redacted]","tags":["a","b"],"ok":true,"no":null}')).toEqual([
      { key: 'amount', value: '655.29' },
      { key: 'card', value: '[redacted]' },
      { key: 'tags', value: '["a","b"]' },
      { key: 'ok', value: 'true' },
      { key: 'no', value: 'null' },
    ]);
  });
  test('and from every beginning of one, without failing', () => {
    const whole = '{"a":"x\\"\\u00e9\\n","b":{"c":[1,{"d":"}"}]},"e":-1.5e3}';
    for (let length = 0; length <= whole.length; length++) firstArguments(whole.slice(0, length));
    expect(firstArguments('{"csv":"country,am')).toEqual([{ key: 'csv', value: 'country,am\u2026' }]);
    expect(firstArguments('{"a":1,"b')).toEqual([{ key: 'a', value: '1' }]);
    expect(firstArguments('{"a":12')).toEqual([{ key: 'a', value: '12\u2026' }]);
    expect(firstArguments(whole).map(({ key }) => key)).toEqual(['a', 'b', 'e']);
  });
  test('have no key where the input is no object', () => {
    expect(firstArguments('"text"')).toEqual([{ key: '', value: 'text' }]);
    expect(firstArguments(undefined)).toEqual([]);
  });
});
