import type { JSX } from 'preact';
import { duration } from '../../lib/format';
import { plainLine } from '../../lib/plain';
import { StreamMark, type LogRecord } from '../../parts/LogLines';
import { memo } from '../../parts/memo';
import type { Section } from './critical';
import type { Row } from './rows';
import { place, type Range } from './scale';
import type { Node } from './tree';

/** Deeper than this nothing is moved further to the right: the names would leave the column. */
const INDENT_MAX = 24;

interface Props {
  row: Row;
  index: number;
  range: Range;
  selected: boolean;
  /** Pieces on the critical path, if that is shown. */
  path: Section[] | null;
  indent: number;
  onSelect: (id: string) => void;
  onToggle: (id: string) => void;
}

export const SpanRow = memo(function SpanRow({ row, index, range, selected, path, indent, onSelect, onToggle }: Props): JSX.Element {
  const { node } = row;
  const id = node.span.span_id;
  const left = `${4 + Math.min(node.depth, INDENT_MAX) * indent}px`;
  if (row.type === 'log') return <LogLine log={row.log as LogRecord} node={node} index={index} left={left} onSelect={onSelect} />;
  const at = place(range, node.start, node.end);
  return (
    <div role="row" aria-level={node.depth + 1} aria-rowindex={index + 2} aria-expanded={row.parent ? !row.collapsed : undefined} aria-selected={selected} class={`span-row role-${node.role} ${node.failed ? 'failed' : ''} ${selected ? 'selected' : ''} ${row.match ? 'match' : ''}`} onClick={() => onSelect(id)}>
      <span role="gridcell" class="span-name" style={{ paddingLeft: left }}>
        {row.parent ? (
          <button
            type="button"
            class="caret"
            tabIndex={-1}
            aria-label={`${row.collapsed ? 'Open' : 'Collapse'} ${node.span.name}`}
            onClick={(event) => {
              event.stopPropagation();
              onToggle(id);
            }}
          >
            {row.collapsed ? '▸' : '▾'}
          </button>
        ) : (
          <i class="caret" aria-hidden="true" />
        )}
        <i class="role-mark" aria-hidden="true" />
        <Name node={node} />
        {row.collapsed && <span class="below">+{node.below}</span>}
      </span>
      <span role="gridcell" class="span-line">
        {at && (
          <i class="span-bar" style={{ left: `${at.left}%`, width: `${at.width}%` }} title={`${plainLine(node.span.name)}: ${duration(node.end - node.start)}`}>
            {node.failed && <b aria-hidden="true">✕</b>}
          </i>
        )}
        {path?.map((piece) => {
          const part = place(range, piece.from, piece.to);
          return part && <i key={piece.from} class="span-path" style={{ left: `${part.left}%`, width: `${part.width}%` }} />;
        })}
        {at === null && <i class={`span-beyond ${node.end < range.from ? 'before' : 'after'}`} aria-hidden="true" />}
      </span>
      <span role="gridcell" class="span-time">
        {duration(node.end - node.start)}
      </span>
    </div>
  );
});

function Name({ node }: { node: Node }): JSX.Element {
  const { name, attributes } = node.span;
  const attempt = node.role === 'attempt' ? attributes['spanglass.attempt'] : undefined;
  return (
    <span class="span-label">
      <span class="text">{plainLine(name)}</span>
      {attempt !== undefined && <span class="hint"> {String(attempt)}</span>}
      {node.role === 'prepare' && name === 'prepare' && <span class="hint"> cold start</span>}
      {node.failed && typeof attributes['error.type'] === 'string' && <span class="hint error"> {plainLine(attributes['error.type'])}</span>}
      {node.detached === 'orphan' && (
        <span class="hint warn" title="Its parent is not among the spans: it was lost, or has not ended yet">
          {' '}
          no parent
        </span>
      )}
      {node.detached === 'cycle' && (
        <span class="hint warn" title="Its ancestors lead back to itself">
          {' '}
          in a circle
        </span>
      )}
      {(node.early > 0 || node.late > 0) && (
        <span class="hint warn" title={`${node.early > 0 ? `begins ${duration(node.early)} before its parent. ` : ''}${node.late > 0 ? `ends ${duration(node.late)} after its parent. ` : ''}Clocks that disagree, or work that was left behind`}>
          {' '}
          outside its parent
        </span>
      )}
    </span>
  );
}

function LogLine({ log, node, index, left, onSelect }: { log: LogRecord; node: Node; index: number; left: string; onSelect: (id: string) => void }): JSX.Element {
  return (
    <div role="row" aria-level={node.depth + 2} aria-rowindex={index + 2} class={`span-row log ${log.severity_text.toLowerCase()}`} onClick={() => onSelect(node.span.span_id)}>
      <span role="gridcell" class="span-name" style={{ paddingLeft: left }}>
        <i class="caret" aria-hidden="true" />
        <StreamMark stream={log.stream} />
        <span class="text">{plainLine(log.body.slice(0, 500))}</span>
      </span>
    </div>
  );
}
