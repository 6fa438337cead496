// Plugins in Node: the worker protocol (docs/worker-protocol.md) in one file without dependencies. Copy it beside
// your entry point:
//
//     const { serve } = require('./spanglass.js');
//     serve({ invoke(input, ctx) { return { greeting: `Hello ${input.who}!` }; } });
//
// The keys of the first object are actions; the second may hold the hooks on_start(ctx), on_stop(ctx) and health().
// All of them may be async. A generator, async or not, is streamed: each `yield` is a chunk.
'use strict';

const fs = require('fs');
const net = require('net');
const { randomBytes } = require('crypto');

const FRAMES_IN = 3;
const FRAMES_OUT = 4;
const PROTOCOL_VERSION = 1;
const TEXT_MAX = 8192;
const ASKS_MAX = 16;

/** Throw it when the caller gave something that cannot work: the call fails as `invalid_input`. */
class InvalidInput extends Error {}
/** Throw it when something the plugin needs is away for now: the call fails as `unavailable`. */
class Unavailable extends Error {
  constructor(message, retry_after_ms) {
    super(message);
    this.retry_after_ms = retry_after_ms;
  }
}
/** A service of the host failed; `kind` is a short word such as `timeout` or `refused`. */
class ServiceError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}
class OutputError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// --- frames

// Blocks while the host does not read: that is what slows a stream down to its reader.
function send(frame) {
  const body = Buffer.from(JSON.stringify(frame));
  const data = Buffer.allocUnsafe(4 + body.length);
  data.writeUInt32LE(body.length, 0);
  body.copy(data, 4);
  for (let written = 0; written < data.length;) {
    written += fs.writeSync(FRAMES_OUT, data, written);
  }
}

function receive(onFrame, onEnd) {
  let parts = [];
  let size = 0;
  const input = new net.Socket({ fd: FRAMES_IN, readable: true, writable: false });
  input.on('data', (data) => {
    parts.push(data);
    size += data.length;
    while (size >= 4) {
      let buffer = parts[0];
      if (buffer.length < 4) parts = [(buffer = Buffer.concat(parts))];
      const end = 4 + buffer.readUInt32LE(0);
      if (size < end) return;
      if (parts.length > 1) buffer = Buffer.concat(parts);
      size = buffer.length - end;
      parts = size > 0 ? [buffer.subarray(end)] : [];
      onFrame(JSON.parse(buffer.toString('utf8', 4, end)));
    }
  });
  input.on('end', onEnd);
  input.on('error', onEnd);
}

const now = () => Number(process.hrtime.bigint() - CLOCK.mono) + CLOCK.unix;
const CLOCK = { mono: process.hrtime.bigint(), unix: Date.now() * 1e6 };
const text = (value) => String(value).slice(0, TEXT_MAX);

// --- what a plugin gets

class Context {
  constructor(worker, call) {
    this._worker = worker;
    this._id = call.id;
    this.action = call.action;
    this.invocation_id = call.invocation_id;
    this.attempt = call.attempt;
    this.traceparent = call.traceparent;
    this.tracestate = call.tracestate;
    this.baggage = call.baggage;
    this.deadline = call.deadline_ms === undefined ? undefined : Date.now() + call.deadline_ms;
    this.config = worker.hello.config;
    this.secrets = worker.hello.secrets;
    this._span = undefined;
    this.log = {};
    for (const name of ['debug', 'info', 'warn', 'error']) {
      this.log[name] = (body, fields = {}) =>
        this._send({ t: 'log', time: now(), severity: name.toUpperCase(), body: text(body), fields });
    }
    const ask = (service, op, args) => this._ask(service, op, args);
    this.services = {
      http: { request: (request) => ask('http', 'request', request) },
      /** What the plugin keeps. `set` takes `{ ttl_ms, if_revision }`, `delete` takes `{ if_revision }`. */
      kv: {
        get: async (key, otherwise = null) => ((await ask('kv', 'get', { key })) || { value: otherwise }).value,
        get_with_revision: async (key) => (await ask('kv', 'get', { key })) || { value: null, revision: 0 },
        set: async (key, value, options) => (await ask('kv', 'set', { ...options, key, value })).revision,
        delete: async (key, options) => (await ask('kv', 'delete', { ...options, key })).deleted,
        increment: async (key, by = 1) => (await ask('kv', 'increment', { key, by })).value,
      },
      /** Calls a plugin that the manifest names under `dependencies`; `options`: `{ action, timeout_ms }`. */
      call: (plugin, input = {}, options) => ask('plugin', 'call', { ...options, plugin, input }),
    };
  }

  /** A step of the call: `await ctx.span('name', async (span) => …, { key: 'value' })`. */
  async span(name, run, attributes = {}) {
    const frame = { t: 'span', span_id: randomBytes(8).toString('hex'), name, start: now(), attributes };
    const outer = this._span;
    if (outer !== undefined) frame.parent_id = outer;
    this._span = frame.span_id;
    try {
      return await run({ set: (more) => Object.assign(attributes, more) });
    } catch (error) {
      frame.error = text(error && error.message !== undefined ? error.message : error);
      throw error;
    } finally {
      this._span = outer;
      frame.end = now();
      this._send(frame);
    }
  }

  metric(name, value, attributes = {}) {
    this._send({ t: 'metric', name, value, attributes });
  }

  _send(frame) {
    // Outside of calls (hooks) there is no id, and only log records are heard.
    if (this._id !== undefined) frame.id = this._id;
    if (this._id !== undefined || frame.t === 'log') send(frame);
  }

  _ask(service, op, args) {
    const worker = this._worker;
    if (this._id === undefined || this._id !== worker.running) {
      return Promise.reject(new ServiceError('refused', 'services answer only while a call runs'));
    }
    if (worker.asks.size >= ASKS_MAX) {
      return Promise.reject(new ServiceError('refused', `more than ${ASKS_MAX} questions to the host at once`));
    }
    const seq = ++worker.seq;
    const frame = { t: 'ask', id: this._id, seq, service, op, args };
    if (this._span !== undefined) frame.parent_id = this._span;
    const answer = new Promise((resolve, reject) => {
      worker.asks.set(seq, { resolve, reject });
      send(frame);
    });
    // A plugin that does not wait for the answer must not die of it.
    answer.catch(() => {});
    return answer;
  }
}

// --- the worker

class Worker {
  constructor(actions, hooks) {
    this.actions = actions;
    this.hooks = hooks;
    this.hello = { config: {}, secrets: {} };
    this.asks = new Map();
    this.seq = 0;
    this.running = undefined;
  }

  handle(frame) {
    switch (frame.t) {
      case 'hello': return this.start(frame);
      case 'call': return this.call(frame);
      case 'reply': return this.answer(frame);
      case 'health': return this.health(frame);
      case 'shutdown': return this.stop();
    }
  }

  async start(hello) {
    this.hello = hello;
    const hooks = Object.keys(this.hooks).filter((name) => typeof this.hooks[name] === 'function');
    const ready = { t: 'ready', v: PROTOCOL_VERSION, language: 'node', version: process.versions.node, hooks };
    try {
      const missing = Object.keys(hello.entrypoints).find((action) => typeof this.actions[action] !== 'function');
      if (missing !== undefined) throw new Error(`there is no function for the action \`${missing}\``);
      if (hooks.includes('on_start')) {
        send({ t: 'on_start' });
        await this.hooks.on_start(new Context(this, {}));
      }
    } catch (error) {
      ready.error = failure(error);
    }
    send(ready);
  }

  async call(frame) {
    this.running = frame.id;
    const cpu = process.cpuUsage();
    let end;
    try {
      const result = await this.actions[frame.action](frame.input, new Context(this, frame));
      end = await this.output(frame, result);
    } catch (error) {
      end = { t: 'error', kind: kindOf(error), ...failure(error) };
    }
    this.running = undefined;
    this.abandon();
    const used = process.cpuUsage(cpu);
    end.usage = { cpu_us: used.user + used.system, rss_peak_kib: process.resourceUsage().maxRSS };
    send({ ...end, id: frame.id });
  }

  async output(frame, result) {
    const iterate = result !== null && typeof result === 'object' && typeof result.next === 'function';
    if (!iterate) return { t: 'end', output: checked(result, frame.output_max).value };
    let left = frame.output_max;
    let seq = 0;
    for await (const part of result) {
      const { value, size } = checked(part, left);
      left -= size;
      send({ t: 'chunk', id: frame.id, seq: seq++, data: value });
    }
    return { t: 'end', chunks: seq };
  }

  answer(frame) {
    const ask = this.asks.get(frame.seq);
    if (ask === undefined) return;
    this.asks.delete(frame.seq);
    if (frame.error) ask.reject(new ServiceError(frame.error.kind, frame.error.message));
    else ask.resolve(frame.output);
  }

  // What a call asked for and did not wait for.
  abandon() {
    for (const ask of this.asks.values()) {
      ask.reject(new ServiceError('ended', 'the call has ended'));
    }
    this.asks.clear();
  }

  async health(frame) {
    const answer = { t: 'healthy', id: frame.id, ok: true };
    try {
      answer.ok = (await this.hooks.health()) !== false;
    } catch (error) {
      answer.ok = false;
      answer.message = failure(error).message;
    }
    send(answer);
  }

  async stop() {
    let code = 0;
    try {
      if (typeof this.hooks.on_stop === 'function') await this.hooks.on_stop(new Context(this, {}));
    } catch (error) {
      code = 1;
      process.stderr.write(`${failure(error).traceback}\n`);
    }
    process.exit(code);
  }
}

// The value, as it can be sent, and its size. `undefined` is null, as nothing said is nothing returned.
function checked(value, bytesMax) {
  if (value === undefined) value = null;
  let json;
  try {
    json = JSON.stringify(value, refuseNumbers);
  } catch (error) {
    throw new OutputError('invalid_output', `the output is not JSON: ${error.message}`);
  }
  if (json === undefined) throw new OutputError('invalid_output', `the output is not JSON: a ${typeof value}`);
  const size = Buffer.byteLength(json);
  if (size > bytesMax) throw new OutputError('output_too_large', 'the output is larger than limits.max_output');
  return { value, size };
}

// JSON.stringify would make null of them.
function refuseNumbers(key, value) {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`${key || 'it'} is ${value}`);
  return value;
}

function kindOf(error) {
  if (error instanceof OutputError) return error.kind;
  if (error instanceof InvalidInput) return 'invalid_input';
  if (error instanceof Unavailable) return 'unavailable';
  return 'plugin_error';
}

function failure(error) {
  const known = error instanceof Error;
  return {
    type: known ? error.constructor.name : typeof error,
    message: text(known ? error.message : error),
    traceback: known && !(error instanceof OutputError) ? text(error.stack) : '',
    retry_after_ms: known ? error.retry_after_ms : undefined,
  };
}

/** Serves calls until the host says that it is enough. */
function serve(actions, hooks = {}) {
  const worker = new Worker(actions, hooks);
  receive((frame) => worker.handle(frame), () => worker.stop());
}

module.exports = { serve, InvalidInput, Unavailable, ServiceError };
