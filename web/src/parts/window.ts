/** Which rows of a list with rows of one height lie in view, with some more above and below. */
export function visibleRows(scrollTop: number, viewHeight: number, rowHeight: number, total: number, over = 12): { first: number; end: number } {
  const first = Math.max(0, Math.min(total, Math.floor(scrollTop / rowHeight) - over));
  const end = Math.min(total, Math.ceil((scrollTop + viewHeight) / rowHeight) + over);
  return { first, end: Math.max(first, end) };
}

/** How far to scroll so that a row is in view; the same if it is. */
export function scrollFor(row: number, scrollTop: number, viewHeight: number, rowHeight: number): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + viewHeight) return top + rowHeight - viewHeight;
  return scrollTop;
}
