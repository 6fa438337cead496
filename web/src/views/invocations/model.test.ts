import { describe, expect, test } from 'vitest';
import type { Invocation } from '../../api/model';
import type { Page } from '../../lib/pages';
import { barLength, bounds, loadPage, stillRunning, within } from './model';

const call = (id: string, ms: number | null, state: Invocation['state'] = 'done') => ({ invocation_id: id, duration_ms: ms, state }) as Invocation;

describe('durations', () => {
  test('are compared as a bucket of a heatmap has them: from its lower bound, below its upper one', () => {
    expect([9.9, 10, 19.9, 20].map((ms) => within(call('a', ms), { min_ms: '10', max_ms: '20' }))).toEqual([false, true, true, false]);
    expect(within(call('a', null), { min_ms: '1' })).toBe(false);
    expect(within(call('a', 5), {})).toBe(true);
    expect(bounds({ min_ms: 'much' })).toBeNull();
  });
  test('have bars that grow with them, and never leave their box', () => {
    const bars = [null, 0, 0.01, 0.1, 1, 1000, 60_000, 1e9].map(barLength);
    expect(bars).toEqual([...bars].sort((a, b) => a - b));
    expect([bars[0], bars.at(-1)]).toEqual([0, 100]);
  });
});

describe('a page of calls', () => {
  const pages = (...items: Invocation[][]) => {
    const asked: (string | null)[] = [];
    const fetchPage = async (cursor: string | null): Promise<Page<Invocation>> => {
      asked.push(cursor);
      const at = Number(cursor ?? 0);
      return { items: items[at] ?? [], next: at + 1 < items.length ? String(at + 1) : null };
    };
    return { asked, fetchPage };
  };
  test('is the one of the server where nothing is compared here', async () => {
    const { asked, fetchPage } = pages([call('a', 1)], [call('b', 2)]);
    expect(await loadPage(fetchPage, null, { plugin: 'p' })).toMatchObject({ items: [{ invocation_id: 'a' }], next: '1' });
    expect(asked).toEqual([null]);
  });
  test('goes on until a call is long enough, and keeps what runs', async () => {
    const { asked, fetchPage } = pages([call('r', null, 'running'), call('a', 1)], [call('b', 2)], [call('c', 50), call('d', 3)], [call('e', 60)]);
    const page = await loadPage(fetchPage, null, { min_ms: '10' });
    expect([page.items.map((one) => one.invocation_id), page.next, page.scanned]).toEqual([['c'], '3', 5]);
    expect(asked).toEqual([null, '1', '2']);
    expect((await loadPage(fetchPage, null, { max_ms: '1.5' })).items.map((one) => one.invocation_id)).toEqual(['r', 'a']);
  });
  test('is given up after some, so that somebody can say whether to look further', async () => {
    const { asked, fetchPage } = pages(...Array.from({ length: 20 }, (_, index) => [call(String(index), 1)]));
    const page = await loadPage(fetchPage, null, { min_ms: '10' });
    expect([page.items, page.next, page.scanned, asked.length]).toEqual([[], '5', 5, 5]);
  });
});

test('what has ended does not run', () => {
  expect(stillRunning([call('a', null, 'running'), call('b', null, 'queued'), call('c', 1)], new Set(['a'])).map((one) => one.invocation_id)).toEqual(['b']);
});
