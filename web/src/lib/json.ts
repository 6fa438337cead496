// A JSON value as rows of one height, so that a document of megabytes is opened where somebody looks and only
// what is in view is drawn.

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

export interface JsonRow {
  /** JSON Pointer of the value; for a part of a long list with `#from` behind it. */
  path: string;
  depth: number;
  /** Name of the member, or index in the list; null for the document itself. */
  key: string | null;
  kind: JsonKind | 'part' | 'line' | 'close';
  /** What stands on the row, for scalars as JSON. */
  text: string;
  /** Members, items or characters. */
  size: number;
  /** null: it cannot be opened. */
  open: boolean | null;
}

/** Longer lists are shown in parts of this many, opened one at a time. */
export const PART = 100;
/** Longer strings are cut on their row, and can be opened into lines. */
export const STRING_MAX = 200;
/** Opened strings are broken into lines of this many characters. */
export const LINE_MAX = 160;

export function kindOf(value: unknown): JsonKind {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'array';
  const kind = typeof value;
  return kind === 'object' || kind === 'string' || kind === 'number' || kind === 'boolean' ? kind : 'string';
}

export function pointer(parent: string, key: string | number): string {
  return parent + '/' + String(key).replace(/~/g, '~0').replace(/\//g, '~1');
}

type Task =
  | { value: unknown; path: string; depth: number; key: string | null }
  | { list: readonly unknown[]; from: number; path: string; depth: number }
  | { row: JsonRow };

/** Rows of `value`; `isOpen` is asked for everything that can be opened. */
export function jsonRows(value: unknown, isOpen: (path: string, depth: number, size: number) => boolean): JsonRow[] {
  const rows: JsonRow[] = [];
  const stack: Task[] = [{ value, path: '', depth: 0, key: null }];
  while (stack.length > 0) {
    const task = stack.pop()!;
    if ('row' in task) rows.push(task.row);
    else if ('list' in task) part(task, rows, stack, isOpen);
    else visit(task, rows, stack, isOpen);
  }
  return rows;
}

type Open = (path: string, depth: number, size: number) => boolean;

function visit(task: Extract<Task, { value: unknown }>, rows: JsonRow[], stack: Task[], isOpen: Open): void {
  const { value, path, depth, key } = task;
  const kind = kindOf(value);
  if (kind === 'string') {
    text(String(value), task, rows, isOpen);
    return;
  }
  if (kind !== 'object' && kind !== 'array') {
    rows.push({ path, depth, key, kind, text: value === undefined ? 'null' : String(value), size: 0, open: null });
    return;
  }
  const names = kind === 'object' ? Object.keys(value as object) : null;
  const size = names ? names.length : (value as unknown[]).length;
  const [left, right] = names ? '{}' : '[]';
  const open = size > 0 && isOpen(path, depth, size);
  rows.push({ path, depth, key, kind, text: size === 0 ? left! + right! : left!, size, open: size === 0 ? null : open });
  if (!open) return;
  const inner: Task[] = [];
  if (names) {
    for (const name of names) inner.push({ value: (value as Record<string, unknown>)[name], path: pointer(path, name), depth: depth + 1, key: name });
  } else if (size <= PART) {
    (value as unknown[]).forEach((item, index) => inner.push({ value: item, path: pointer(path, index), depth: depth + 1, key: String(index) }));
  } else {
    for (let from = 0; from < size; from += PART) inner.push({ list: value as unknown[], from, path, depth: depth + 1 });
  }
  inner.push({ row: { path: path + '#close', depth, key: null, kind: 'close', text: right!, size: 0, open: null } });
  for (let i = inner.length - 1; i >= 0; i--) stack.push(inner[i]!);
}

function part(task: Extract<Task, { list: readonly unknown[] }>, rows: JsonRow[], stack: Task[], isOpen: Open): void {
  const { list, from, depth } = task;
  const to = Math.min(list.length, from + PART);
  const path = task.path + '#' + from;
  const open = isOpen(path, depth, to - from);
  rows.push({ path, depth, key: null, kind: 'part', text: `[${from} \u2026 ${to - 1}]`, size: to - from, open });
  if (!open) return;
  for (let i = to - 1; i >= from; i--) stack.push({ value: list[i], path: pointer(task.path, i), depth: depth + 1, key: String(i) });
}

function text(value: string, { path, depth, key }: { path: string; depth: number; key: string | null }, rows: JsonRow[], isOpen: Open): void {
  const long = value.length > STRING_MAX || value.includes('\n');
  const open = long ? isOpen(path, depth, value.length) : null;
  const shown = value.length > STRING_MAX ? JSON.stringify(value.slice(0, STRING_MAX)).slice(0, -1) + '\u2026' : JSON.stringify(value);
  rows.push({ path, depth, key, kind: 'string', text: shown, size: value.length, open });
  if (!open) return;
  let number = 0;
  for (const line of value.split('\n')) {
    for (let at = 0; at === 0 || at < line.length; at += LINE_MAX) {
      rows.push({ path: `${path}#line${number++}`, depth: depth + 1, key: null, kind: 'line', text: line.slice(at, at + LINE_MAX), size: 0, open: null });
    }
  }
}

/** Opens what is small, so that an ordinary document is seen whole and a huge one only from above. */
export function openSmall(value: unknown, rowsMax = 200): (path: string, depth: number, size: number) => boolean {
  // A text alone, as of a document that was cut, is there to be read.
  if (typeof value === 'string') return (path) => path === '';
  const levels = levelSizes(value, rowsMax);
  let depth = 0;
  for (let sum = 1; depth < levels.length && sum + levels[depth]! <= rowsMax; depth++) sum += levels[depth]!;
  // Strings are opened only by hand: their size is in characters.
  return (path, at, size) => (path === '' || at < depth) && size <= rowsMax && !path.includes('#');
}

/** How many values lie on each level, counted until there are too many. */
function levelSizes(value: unknown, most: number): number[] {
  const sizes: number[] = [];
  let level: unknown[] = [value];
  while (level.length > 0) {
    const next: unknown[] = [];
    for (const item of level) {
      if (item === null || typeof item !== 'object') continue;
      for (const inner of Object.values(item)) next.push(inner);
      if (next.length > most) return [...sizes, next.length];
    }
    if (next.length === 0) break;
    sizes.push(next.length);
    level = next;
  }
  return sizes;
}
