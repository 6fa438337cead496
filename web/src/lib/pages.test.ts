import { describe, expect, test } from 'vitest';
import { Pages } from './pages';

/** Numbers 0, 1, 2 … by tens; what was asked for is noted. */
function numbers(total: number, pagesMax?: number) {
  const asked: (string | null)[] = [];
  const pages = new Pages<{ id: string }>({
    load: async (cursor) => {
      asked.push(cursor);
      const from = Number(cursor ?? 0);
      const to = Math.min(total, from + 10);
      return { items: Array.from({ length: to - from }, (_, index) => ({ id: String(from + index) })), next: to < total ? String(to) : null };
    },
    id: (item) => item.id,
    changed: () => {},
    ...(pagesMax ? { pagesMax } : {}),
  });
  return { pages, asked };
}

/** Until nothing is under way any more. */
async function settled(pages: Pages<{ id: string }>) {
  for (let i = 0; i < 50; i++) await Promise.resolve();
  expect(pages.busy).toBe(false);
}

describe('a list in pages', () => {
  test('goes on when its end comes into view, and ends', async () => {
    const { pages, asked } = numbers(25);
    await pages.reload();
    expect([pages.count, pages.complete]).toEqual([10, false]);
    pages.seen(0, 10);
    await settled(pages);
    pages.seen(10, 20);
    await settled(pages);
    pages.seen(15, 25);
    await settled(pages);
    expect([pages.count, pages.complete, asked]).toEqual([25, true, [null, '10', '20']]);
    expect(pages.at(24)?.id).toBe('24');
    expect(pages.at(25)).toBeUndefined();
  });
  test('lets go of far pages and asks again when they come into view', async () => {
    const { pages, asked } = numbers(100, 3);
    await pages.reload();
    for (let at = 0; at < 60; at += 10) {
      pages.seen(at, at + 10);
      await settled(pages);
    }
    pages.seen(50, 60);
    await settled(pages);
    expect(pages.at(55)?.id).toBe('55');
    expect(pages.at(5)).toBeUndefined();
    const before = pages.count;
    pages.seen(0, 8);
    await settled(pages);
    expect(pages.at(5)?.id).toBe('5');
    expect(pages.count).toBe(before);
    expect(asked.filter((cursor) => cursor === null)).toHaveLength(2);
  });
  test('takes what comes live on top, once', async () => {
    const { pages } = numbers(10);
    await pages.reload();
    expect(pages.prepend([{ id: 'n1' }, { id: '3' }, { id: 'n2' }, { id: 'n1' }])).toBe(2);
    expect([pages.count, pages.at(0)?.id, pages.at(1)?.id, pages.at(2)?.id]).toEqual([12, 'n2', 'n1', '0']);
    pages.trim(1);
    expect([pages.count, pages.at(0)?.id, pages.at(1)?.id]).toEqual([11, 'n2', '0']);
  });
  test('says what went wrong and can go on', async () => {
    let broken = true;
    const pages = new Pages<{ id: string }>({
      load: async () => {
        if (broken) throw new Error('gone');
        return { items: [{ id: 'a' }], next: null };
      },
      id: (item) => item.id,
      changed: () => {},
    });
    await pages.reload();
    expect([pages.error, pages.count]).toEqual([new Error('gone'), 0]);
    broken = false;
    await pages.more();
    expect([pages.error, pages.count, pages.complete]).toEqual([null, 1, true]);
  });
  test('forgets answers to what was asked before it began anew', async () => {
    const answers: ((page: { items: { id: string }[]; next: null }) => void)[] = [];
    const pages = new Pages<{ id: string }>({ load: () => new Promise((resolve) => answers.push(resolve)), id: (item) => item.id, changed: () => {} });
    void pages.reload();
    const second = pages.reload();
    answers[1]!({ items: [{ id: 'new' }], next: null });
    answers[0]!({ items: [{ id: 'old' }], next: null });
    await second;
    await settled(pages);
    expect(pages.held().map((item) => item.id)).toEqual(['new']);
  });
});
