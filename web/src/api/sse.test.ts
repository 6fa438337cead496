import { expect, test } from 'vitest';
import { EventParser } from './sse';

test('events come whole, however the text is cut', () => {
  const text = ': hello\r\nid: 7-1\nevent: log\ndata: {"a":\ndata: 1}\n\ndata:x\r\rid\nevent: only a name\n\nid: 7-2\ndata: é\n\n';
  const whole = new EventParser().push(text);
  expect(whole).toEqual([
    { id: '7-1', event: 'log', data: '{"a":\n1}' },
    { id: '7-1', event: 'message', data: 'x' },
    { id: '7-2', event: 'message', data: 'é' },
  ]);
  for (let size = 1; size < 9; size += 1) {
    const parser = new EventParser();
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    expect(pieces.flatMap((piece) => parser.push(piece)), `pieces of ${size}`).toEqual(whole);
  }
});
