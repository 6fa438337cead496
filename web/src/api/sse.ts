// The text format of server-sent events.

export interface ServerEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Takes pieces of text as they come, gives back the events that are whole. */
export class EventParser {
  private rest = '';
  private id: string | null = null;
  private name = '';
  private data: string[] = [];

  push(piece: string): ServerEvent[] {
    this.rest += piece;
    const events: ServerEvent[] = [];
    // A lone CR at the very end may be the first half of CRLF.
    for (let end = this.rest.search(/\r\n|\n|\r(?!$)/); end >= 0; end = this.rest.search(/\r\n|\n|\r(?!$)/)) {
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + (this.rest.startsWith('\r\n', end) ? 2 : 1));
      const event = this.line(line);
      if (event) events.push(event);
    }
    return events;
  }

  private line(line: string): ServerEvent | null {
    if (line === '') {
      const event = this.data.length ? { id: this.id, event: this.name || 'message', data: this.data.join('\n') } : null;
      this.name = '';
      this.data = [];
      return event;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id' && !value.includes('\0')) this.id = value;
    else if (field === 'event') this.name = value;
    else if (field === 'data') this.data.push(value);
    return null;
  }
}
