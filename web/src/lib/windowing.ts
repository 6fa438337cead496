// Which rows of a long list are in the DOM. Rows have one height, so nothing has to be measured.

/** Browsers cap the height of an element; the lowest known cap is Firefox's, some 17.8 million pixels. */
export const HEIGHT_MAX = 8_000_000;

export interface View {
  scrollTop: number;
  height: number;
  rowHeight: number;
  count: number;
  overscan?: number;
}

export interface Slice {
  /** First row in the DOM, and one past the last. */
  from: number;
  to: number;
  /** Where the first row stands, in pixels of the scrolled content. */
  top: number;
  /** Height of the scrolled content. */
  total: number;
}

/** Rows that are to be drawn. Beyond HEIGHT_MAX the scroll bar is coarser than the rows: the place is
 * interpolated, so that both ends can be reached. */
export function slice({ scrollTop, height, rowHeight, count, overscan = 8 }: View): Slice {
  const full = count * rowHeight;
  const total = Math.min(full, HEIGHT_MAX);
  const reach = Math.max(0, total - height);
  const at = Math.min(Math.max(0, scrollTop), reach);
  const virtual = total === full || reach === 0 ? at : (at / reach) * Math.max(0, full - height);
  const first = Math.floor(virtual / rowHeight);
  const from = Math.max(0, first - overscan);
  const to = Math.min(count, Math.ceil((virtual + height) / rowHeight) + overscan);
  return { from, to: Math.max(from, to), top: from * rowHeight - virtual + at, total };
}

/** Scroll position that shows `row` whole, changing as little as possible. */
export function reveal(row: number, { scrollTop, height, rowHeight, count }: View): number {
  const full = count * rowHeight;
  const total = Math.min(full, HEIGHT_MAX);
  const scale = total === full ? 1 : Math.max(1, full - height) / Math.max(1, total - height);
  const virtual = scrollTop * scale;
  const top = row * rowHeight;
  if (top < virtual) return top / scale;
  if (top + rowHeight > virtual + height) return (top + rowHeight - height) / scale;
  return scrollTop;
}
