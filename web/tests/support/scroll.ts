import { expect, type Locator } from '@playwright/test';

/** The box that scrolls a list: what has the list's role may lie in it. */
export function scroller(list: Locator): Locator {
  return list.locator('xpath=ancestor-or-self::*[contains(concat(" ", @class, " "), " windowed ")]');
}

export async function scrollTo(list: Locator, top: number): Promise<void> {
  const place = await scroller(list).evaluate((box, wanted) => ((box.scrollTop = wanted), box.scrollTop), top);
  expect(place, 'the list does not scroll').toBeGreaterThan(0);
}

export interface Frames {
  median: number;
  p95: number;
  worst: number;
  frames: number;
}

/** Scrolls through the whole in steps, one a frame, and says how long frames took, in milliseconds. */
export async function scrollThrough(list: Locator): Promise<Frames> {
  return scroller(list).evaluate(async (box) => {
    const took: number[] = [];
    const step = Math.max(200, box.scrollHeight / 240);
    let last = performance.now();
    for (let top = step; top < box.scrollHeight && took.length < 300; top += step) {
      box.scrollTop = top;
      if (box.scrollTop === 0) throw new Error('the list does not scroll');
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      took.push(now - last);
      last = now;
    }
    took.sort((a, b) => a - b);
    const at = (share: number) => Math.round(took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0);
    return { median: at(0.5), p95: at(0.95), worst: at(1), frames: took.length };
  });
}
