"""spanglass worker for Python plugins: runs one plugin's functions for the host.

Standard library only, Python 3.9 or later. The protocol is docs/worker-protocol.md: frames (u32 little-endian
length, then one JSON object) come on descriptor 3 and go out on 4; 1 and 2 belong to the plugin. A worker that is to
be a fork server has a control socket as descriptor 5, by which it is asked for copies of itself.
What is imported at the top is what every worker pays for at each start; everything else is imported when it is
first needed.
"""

import io
import json
import os
import sys
import time
from _queue import SimpleQueue
from _thread import _count as _thread_count, allocate_lock, get_ident
from contextvars import ContextVar

try:
    import resource
except ImportError:  # an interpreter that was built without it
    resource = None

PROTOCOL_VERSION = 1
FRAMES_IN = 3
FRAMES_OUT = 4
CONTROL = 5
# Where a fork server keeps its control socket: out of the way of what plugins count on.
CONTROL_KEPT = 200
CONTROL_BYTES_MAX = 65_536
READ_BYTES = 65_536
# What may be sent for one call; beyond it is dropped and counted. The host has the same bounds.
COUNT_MAX = {"span": 1_000, "log": 10_000, "metric": 1_000}
ASKS_MAX = 16
TEXT_BYTES_MAX = 8_192
NAME_BYTES_MAX = 256
FIELDS_MAX = 64
EVENTS_MAX = 64
TRACEBACK_BYTES_MAX = 32_768
# How far the search for an offending value in an output goes.
SEARCH_VALUES_MAX = 100_000
SEARCH_DEPTH_MAX = 200
# Children that have ended and were never waited for: with more of them the worker is replaced.
ZOMBIES_MAX = 64
# Descriptors that are open after a call beyond those from before the first: with more, or with half of those
# that the system grants, the worker is replaced.
DESCRIPTORS_MAX = 1_024

_PLAIN = frozenset((dict, list, str, int, float, bool, type(None)))
_OWN_FILE = __file__


def _encoder(**options):
    """Strict JSON of a value, as a function. What `JSONEncoder.encode` makes anew for each value is made once: that is
    a fifth of the time for 1 KiB. Circles are found where they are looked for anyway, by their depth."""
    from json import encoder

    plain = json.JSONEncoder(allow_nan=False, ensure_ascii=False, check_circular=False, separators=(",", ":"),
                             **options)
    try:
        parts = encoder.c_make_encoder(None, plain.default, encoder.encode_basestring, None, ":", ",", False, False,
                                       False)
        if "".join(parts(["\u00e4", 1.5, None, {"a": True}], 0)) != '["\u00e4",1.5,null,{"a":true}]':
            return plain.encode
    except Exception:  # another Python than those that were tried
        return plain.encode
    join = "".join
    return lambda value: join(parts(value, 0))


_encode = _encoder()
_decode = json.JSONDecoder().decode
# For what the host has written: one value, nothing around it.
_decode_frame = json.JSONDecoder().scan_once
_open_span = ContextVar("spanglass_open_span", default=None)
# The module `spanglass_otel`, once the plugin's process has imported `opentelemetry.trace`.
_otel = None
_WAKE = object()


# --- the channel to the host ----------------------------------------------------------------------------------


class Channel:
    """The two frame pipes. Any thread may send. Of the threads that wait for a frame, one reads for all."""

    def __init__(self):
        self.frame_bytes_max = 1 << 20
        self.muted = False
        self._main = SimpleQueue()
        self._buffer = b""
        self._fresh_locks()

    def _fresh_locks(self):
        self._write_lock = allocate_lock()
        self._lock = allocate_lock()
        self._reading = False
        self._waiters = {}
        self._seq = 0

    def send(self, frame):
        """Sends a frame; False: it is too long."""
        return self.send_bytes(_encode(frame).encode("utf-8", "replace"))

    def send_bytes(self, body):
        if len(body) > self.frame_bytes_max:
            return False
        data = len(body).to_bytes(4, "little") + body
        with self._write_lock:
            written = os.write(FRAMES_OUT, data)
            while written < len(data):
                written += os.write(FRAMES_OUT, memoryview(data)[written:])
        return True

    def next_command(self):
        """The next frame that is not an answer, for the main loop; None at the end."""
        with self._lock:
            alone = not (self._reading or self._waiters) and self._main.empty()
            if alone:
                self._reading = True
        if alone:
            # As almost always: what comes is for the main loop.
            read = self._read()
            with self._lock:
                self._reading = False
                answer = read is not None and read.get("t") == "reply"
                if not answer and not self._waiters:
                    return read
                # A thread of the plugin asks meanwhile: whoever this is for finds it, then one of all waits.
                if not answer:
                    self._main.put(read)
                elif read.get("seq") in self._waiters:
                    self._waiters[read["seq"]].put(read)
        return self._wait(None, self._main)

    def ask(self, frame):
        """Sends a question and waits for its answer."""
        queue = SimpleQueue()
        with self._lock:
            if len(self._waiters) - (None in self._waiters) >= ASKS_MAX:
                raise _service_error("refused", "more than %d questions to the host at once" % ASKS_MAX)
            self._seq += 1
            seq = frame["seq"] = self._seq
            self._waiters[seq] = queue
        sent = False
        try:
            sent = self.send(frame)
        finally:
            if not sent:
                with self._lock:
                    self._waiters.pop(seq, None)
        if not sent:
            raise _service_error("refused", "the question is larger than %d bytes" % self.frame_bytes_max)
        return self._wait(seq, queue)

    def abandon_asks(self):
        """The call has ended: nobody will answer what its threads still ask."""
        if not self._waiters:
            return
        answer = {"error": {"kind": "ended", "message": "the call has ended"}}
        with self._lock:
            for seq, queue in self._waiters.items():
                if seq is not None:
                    queue.put(answer)

    def _wait(self, seq, queue):
        frame = _WAKE
        with self._lock:
            self._waiters[seq] = queue
        while frame is _WAKE:
            with self._lock:
                if not queue.empty():
                    frame = queue.get()
                    continue
                lead = not self._reading
                self._reading = True
            if not lead:
                frame = queue.get()
                continue
            read = self._read()
            with self._lock:
                self._reading = False
                if read is None:
                    frame = None
                elif read.get("t") != "reply":
                    if seq is None:
                        frame = read
                    else:
                        self._main.put(read)
                elif read.get("seq") == seq:
                    frame = read
                elif read.get("seq") in self._waiters:
                    self._waiters[read["seq"]].put(read)
        with self._lock:
            self._waiters.pop(seq, None)
            if not self._reading:
                for other in self._waiters.values():
                    other.put(_WAKE)
                    break
        return frame

    def _read(self):
        buffer = self._buffer
        while len(buffer) < 4:
            data = os.read(FRAMES_IN, READ_BYTES)
            if not data:
                return None
            buffer += data
        end = 4 + int.from_bytes(buffer[:4], "little")
        if len(buffer) < end:
            parts, have = [buffer], len(buffer)
            while have < end:
                data = os.read(FRAMES_IN, max(end - have, READ_BYTES))
                if not data:
                    return None
                parts.append(data)
                have += len(data)
            buffer = b"".join(parts)
        self._buffer = buffer[end:]
        return _decode_frame(buffer[4:end].decode("utf-8"), 0)[0]

    def renew(self):
        """In a copy of a fork server, whose descriptors 3 and 4 are its own."""
        self._buffer = b""
        self._fresh_locks()

    def mute(self):
        """In a forked child: it must not speak with the host, whose pipes it has inherited."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, FRAMES_IN)
        os.dup2(null, FRAMES_OUT)
        os.close(null)
        self.muted = True
        self._buffer = b""
        self._fresh_locks()


# --- bounded data ---------------------------------------------------------------------------------------------


def _text(value, bytes_max=TEXT_BYTES_MAX):
    if not isinstance(value, str):
        try:
            value = str(value)
        except Exception as error:
            value = "<%s whose str() raised %s>" % (type(value).__name__, type(error).__name__)
    if len(value) <= bytes_max and value.isascii():
        return value
    return value[:bytes_max].encode("utf-8", "backslashreplace")[:bytes_max].decode("utf-8", "ignore")


def _field(value):
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is bool or value is None:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else str(value)
    if kind is float:
        return value if value - value == 0 else str(value)
    if kind in (list, tuple, dict):
        try:
            text = _encode(value)
        except (TypeError, ValueError, RecursionError):
            return _text(repr(value))
        return value if len(text) <= TEXT_BYTES_MAX and text.isascii() else _text(text)
    return _text(value)


def _fields(values):
    if len(values) > FIELDS_MAX:
        values = dict(list(values.items())[:FIELDS_MAX])
    return {_text(key, NAME_BYTES_MAX): _field(value) for key, value in values.items()}


# --- what a plugin gets ---------------------------------------------------------------------------------------


class InvalidInput(Exception):
    """Raise it when the caller gave something that cannot work: the call fails as `invalid_input`."""


class Unavailable(Exception):
    """Raise it when something the plugin needs is away for now: the call fails as `unavailable`."""

    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after


class ServiceError(Exception):
    """A service of the host failed. `kind` is a short word such as `timeout`, `connect` or `refused`."""

    kind = "failed"
    # The invocation that failed, when another plugin was called.
    invocation_id = None

    @property
    def message(self):
        return str(self)


class ServiceTimeout(ServiceError, TimeoutError):
    pass


class ServiceUnreachable(ServiceError, ConnectionError):
    pass


class ServiceConflict(ServiceError):
    """A key of `ctx.services.kv` is not at the revision that was expected."""


_SERVICE_ERRORS = {"timeout": ServiceTimeout, "connect": ServiceUnreachable, "conflict": ServiceConflict}


def _service_error(kind, message, invocation_id=None):
    error = _SERVICE_ERRORS.get(kind, ServiceError)(message)
    error.kind = kind
    error.invocation_id = invocation_id
    return error


class Errors:
    InvalidInput = InvalidInput
    Unavailable = Unavailable
    ServiceError = ServiceError


class Call:
    """One running call, or, with id None, what happens outside of calls (`on_start`, `on_stop`)."""

    __slots__ = ("id", "sent", "dropped", "ended")

    def __init__(self, number):
        self.id = number
        self.sent = {}
        self.dropped = {}
        self.ended = False

    def emit(self, kind, frame):
        """Sends a log, span or metric frame within its bound."""
        if self.reserve(kind):
            self.send(kind, frame)

    def reserve(self, kind):
        """Whether one more frame of this kind may be sent; then it must be."""
        sent = self.sent.get(kind, 0)
        if sent >= COUNT_MAX[kind]:
            self.dropped[kind] = self.dropped.get(kind, 0) + 1
            return False
        self.sent[kind] = sent + 1
        return True

    def send(self, kind, frame):
        frame["t"] = kind
        if self.id is not None:
            frame["id"] = self.id
        try:
            sent = worker.channel.send(frame)
        except (TypeError, ValueError, RecursionError):
            sent = False
        if not sent:
            self.dropped[kind] = self.dropped.get(kind, 0) + 1


class Log:
    """`ctx.log.info("text", key=value)`; also `ctx.log("text")`."""

    __slots__ = ("_call",)

    def __init__(self, call):
        self._call = call

    def _write(self, severity, message, fields):
        frame = sys._getframe(2)
        self._call.emit("log", _in_span(self._call, {
            "time": time.time_ns(),
            "severity": severity,
            "body": _text(message),
            "fields": _fields(fields),
            "code": {"file": _text(frame.f_code.co_filename), "line": frame.f_lineno or 0,
                     "function": _text(frame.f_code.co_name)},
        }))

    def __call__(self, message, /, **fields):
        self._write("INFO", message, fields)

    def debug(self, message, /, **fields):
        self._write("DEBUG", message, fields)

    def info(self, message, /, **fields):
        self._write("INFO", message, fields)

    def warning(self, message, /, **fields):
        self._write("WARN", message, fields)

    def error(self, message, /, **fields):
        self._write("ERROR", message, fields)

    def critical(self, message, /, **fields):
        self._write("FATAL", message, fields)

    def exception(self, message, /, **fields):
        error = sys.exc_info()[1]
        if error is not None:
            fields.setdefault("exception.type", _type_name(type(error)))
            fields.setdefault("exception.message", _text(error))
            fields.setdefault("exception.stacktrace", _traceback(error))
        self._write("ERROR", message, fields)

    warn = warning


class Span:
    """A step of a call: `with ctx.span("name", key=value) as span:`; `async with` works too."""

    __slots__ = ("id", "name", "_call", "_parent", "_client", "_start", "_attributes", "_events", "_error", "_token",
                 "_entered")

    def __init__(self, call, name, client, attributes):
        self.id = os.urandom(8).hex()
        self.name = name
        self._call = call
        self._client = client
        self._attributes = attributes
        self._events = []
        self._error = None
        self._parent = self._token = self._start = self._entered = None

    def set(self, **attributes):
        self._attributes.update(attributes)

    def set_attribute(self, key, value):
        self._attributes[key] = value

    def event(self, name, /, **attributes):
        if len(self._events) < EVENTS_MAX:
            self._events.append({"time": time.time_ns(), "name": _text(name, NAME_BYTES_MAX),
                                 "attributes": _fields(attributes)})
        else:
            dropped = self._call.dropped
            dropped["event"] = dropped.get("event", 0) + 1

    add_event = event

    def set_error(self, message):
        """Marks the step as failed although nothing was raised."""
        self._error = _text(message) or "error"

    def __enter__(self):
        self._parent = _open_span.get()
        if _otel is not None:
            self._entered = _otel.enter(self)
        self._token = _open_span.set(self)
        self._start = time.time_ns()
        return self

    def __exit__(self, kind, error, traceback):
        end = time.time_ns()
        try:
            _open_span.reset(self._token)
        except ValueError:  # entered in another context, as generators may be
            _open_span.set(self._parent)
        if error is not None and not isinstance(error, GeneratorExit):
            self._error = "%s: %s" % (_type_name(kind), _text(error))
            self.event("exception", **{"exception.type": _type_name(kind), "exception.message": _text(error),
                                       "exception.stacktrace": _traceback(error)})
        frame = {"span_id": self.id, "name": _text(self.name, NAME_BYTES_MAX), "start": self._start, "end": end,
                 "attributes": _fields(self._attributes), "events": self._events}
        parent_id = self._parent.id if self._parent is not None and self._parent._call is self._call else None
        if self._entered is not None:
            parent_id = _otel.leave(self._entered)
        if parent_id is not None:
            frame["parent_id"] = parent_id
        if self._client:
            frame["client"] = True
        if self._error is not None:
            frame["error"] = self._error
        self._call.emit("span", frame)
        return False

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, traceback):
        return self.__exit__(kind, error, traceback)


def _span_id(call):
    """The id of the span of `call` that is open here; None: its `execute`."""
    if _otel is not None:
        return _otel.span_id(call)
    span = _open_span.get()
    return span.id if span is not None and span._call is call else None


def _in_span(call, frame):
    span_id = _span_id(call)
    if span_id is not None:
        frame["span_id"] = span_id
    return frame


class Response:
    """What `ctx.services.http` returns."""

    __slots__ = ("status", "headers", "text")

    def __init__(self, answer):
        self.status = answer.get("status")
        self.headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        self.text = answer.get("body") or ""

    @property
    def status_code(self):
        return self.status

    @property
    def ok(self):
        return self.status < 400

    def json(self):
        return _decode(self.text)

    def raise_for_status(self):
        if not self.ok:
            raise ServiceError("HTTP status %s" % self.status)

    def __repr__(self):
        return "<Response %s>" % self.status


class Http:
    """HTTP through the host. The methods with an `a` in front are for `await`."""

    __slots__ = ("_call",)

    def __init__(self, call):
        self._call = call

    def request(self, method, url, *, headers=None, params=None, json=None, data=None, timeout=None):
        headers = {str(key): str(value) for key, value in (headers or {}).items()}
        names = {name.lower() for name in headers}
        if json is not None:
            data = _encode(json)
            if "content-type" not in names:
                headers["content-type"] = "application/json"
        elif isinstance(data, dict):
            from urllib.parse import urlencode

            data = urlencode(data, doseq=True)
            if "content-type" not in names:
                headers["content-type"] = "application/x-www-form-urlencoded"
        elif isinstance(data, (bytes, bytearray)):
            data = bytes(data).decode("utf-8")
        if params:
            from urllib.parse import urlencode

            url = str(url) + ("&" if "?" in str(url) else "?") + urlencode(params, doseq=True)
        args = {"method": str(method).upper(), "url": str(url), "headers": headers}
        if data is not None:
            args["body"] = str(data)
        if timeout is not None:
            args["timeout_ms"] = max(1, int(float(timeout) * 1000))
        return Response(_ask(self._call, "http", "request", args))

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def put(self, url, **options):
        return self.request("PUT", url, **options)

    def patch(self, url, **options):
        return self.request("PATCH", url, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **options)

    async def arequest(self, method, url, **options):
        return await _in_thread(self.request, method, url, **options)

    async def aget(self, url, **options):
        return await self.arequest("GET", url, **options)

    async def apost(self, url, **options):
        return await self.arequest("POST", url, **options)

    async def aput(self, url, **options):
        return await self.arequest("PUT", url, **options)

    async def apatch(self, url, **options):
        return await self.arequest("PATCH", url, **options)

    async def adelete(self, url, **options):
        return await self.arequest("DELETE", url, **options)


class KeyValues:
    """What the plugin keeps: JSON values under keys, on the disk when a method returns. All versions of the
    plugin share it, and no other plugin sees it. The methods with an `a` in front are for `await`."""

    __slots__ = ("_call",)

    def __init__(self, call):
        self._call = call

    def get(self, key, default=None):
        entry = self._ask("get", {"key": key})
        return default if entry is None else entry["value"]

    def get_with_revision(self, key, default=None):
        """The value and its revision, for `if_revision`; 0 for a key that is not there."""
        entry = self._ask("get", {"key": key})
        return (default, 0) if entry is None else (entry["value"], entry["revision"])

    def set(self, key, value, ttl=None, *, if_revision=None):
        """Returns the new revision. `ttl`: seconds until it is forgotten. `if_revision`: only if the key is
        still at that revision, else `Conflict`; 0: only if it is not there."""
        args = {"key": key, "value": value}
        if ttl is not None:
            ttl = float(ttl)
            if not 0 < ttl < float("inf"):
                raise ValueError("ttl is a number of seconds above 0, not %r" % ttl)
            args["ttl_ms"] = max(1, int(ttl * 1000))
        if if_revision is not None:
            args["if_revision"] = if_revision
        return self._ask("set", args)["revision"]

    def delete(self, key, *, if_revision=None):
        """Whether there was something."""
        args = {"key": key}
        if if_revision is not None:
            args["if_revision"] = if_revision
        return self._ask("delete", args)["deleted"]

    def keys(self, prefix=""):
        """All keys that begin with `prefix`, sorted."""
        keys, after = [], None
        while True:
            args = {"prefix": prefix}
            if after is not None:
                args["after"] = after
            page = self._ask("keys", args)
            keys += page["keys"]
            after = page.get("next")
            if after is None:
                return keys

    def increment(self, key, by=1):
        """Adds to an integer and returns the sum; a key that is not there counts as 0."""
        return self._ask("increment", {"key": key, "by": by})["value"]

    async def aget(self, key, default=None):
        return await _in_thread(self.get, key, default)

    async def aget_with_revision(self, key, default=None):
        return await _in_thread(self.get_with_revision, key, default)

    async def aset(self, key, value, ttl=None, *, if_revision=None):
        return await _in_thread(self.set, key, value, ttl, if_revision=if_revision)

    async def adelete(self, key, *, if_revision=None):
        return await _in_thread(self.delete, key, if_revision=if_revision)

    async def akeys(self, prefix=""):
        return await _in_thread(self.keys, prefix)

    async def aincrement(self, key, by=1):
        return await _in_thread(self.increment, key, by)

    def _ask(self, op, args):
        return _ask(self._call, "kv", op, args)


async def _in_thread(function, *args, **options):
    import asyncio
    import functools
    from contextvars import copy_context

    work = functools.partial(copy_context().run, function, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(None, work)


def _ask(call, service, op, args):
    if call.id is None or call.ended:
        raise ServiceError("services of the host can only be used during a call")
    frame = {"t": "ask", "id": call.id, "service": service, "op": op, "args": args}
    parent_id = _span_id(call)
    if parent_id is not None:
        frame["parent_id"] = parent_id
    reply = worker.channel.ask(frame)
    if reply is None:
        raise ServiceError("the host has gone")
    failure = reply.get("error")
    if failure is None:
        return reply.get("output")
    raise _service_error(failure.get("kind"), failure.get("message"), failure.get("invocation_id"))


class Services:
    __slots__ = ("http", "kv", "_call")
    Error = ServiceError
    Conflict = ServiceConflict

    def __init__(self, call):
        self._call = call
        self.http = Http(call)
        self.kv = KeyValues(call)

    def call(self, plugin, input=None, *, action=None, timeout=None):
        """Calls another plugin, which must be among the manifest's dependencies, and returns its output; of
        one that streams, the list of its parts. `timeout`: seconds, never more than this call has left."""
        args = {"plugin": plugin, "input": {} if input is None else input}
        if action is not None:
            args["action"] = action
        if timeout is not None:
            args["timeout_ms"] = max(1, int(float(timeout) * 1000))
        return _ask(self._call, "plugin", "call", args)

    async def acall(self, plugin, input=None, *, action=None, timeout=None):
        return await _in_thread(self.call, plugin, input, action=action, timeout=timeout)


class Context:
    """`ctx`: what a plugin may know and say during a call."""

    errors = Errors

    def __init__(self, call, action, invocation_id, traceparent, tracestate, baggage, attempt, ends_at):
        self._call = call
        self._ends_at = ends_at
        self.action = action
        self.invocation_id = invocation_id
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.baggage = baggage
        self.attempt = attempt

    def __getattr__(self, name):
        # Made when first asked for; config anew for each call, so that calls cannot change each other's.
        if name == "config":
            value = _decode(worker.config_json)
        elif name == "secrets":
            value = dict(worker.secrets)
        elif name == "services":
            value = Services(self._call)
        elif name == "log":
            value = Log(self._call)
        else:
            raise AttributeError("ctx has no attribute %r" % name)
        setattr(self, name, value)
        return value

    @property
    def deadline(self):
        """Seconds left until the host ends the call; None outside of calls."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    def remaining(self):
        return self.deadline

    def span(self, name, /, *, client=False, **attributes):
        return Span(self._call, name, client, attributes)

    def metric(self, name, value, /, **attributes):
        value = float(value)
        if value - value != 0:
            raise ValueError("metric %s: %r is not a finite number" % (name, value))
        self._call.emit("metric", {"name": _text(name, NAME_BYTES_MAX), "value": value,
                                   "attributes": _fields(attributes)})


# --- logging --------------------------------------------------------------------------------------------------


def _install_logging(logging):
    """Sends records of the standard `logging` to the host, as far as the plugin has not set it up itself."""

    class HostHandler(logging.Handler):
        def emit(self, record):
            for handler in logging.root.handlers:
                # The plugin prints its records itself: they come as lines of stdout or stderr.
                if _writes_to_console(logging, handler):
                    return
            try:
                body = record.getMessage()
                fields = {}
                if record.exc_info and record.exc_info[1] is not None:
                    error = record.exc_info[1]
                    fields = {"exception.type": _type_name(type(error)), "exception.message": _text(error),
                              "exception.stacktrace": _traceback(error)}
                levels = ((50, "FATAL"), (40, "ERROR"), (30, "WARN"), (20, "INFO"), (10, "DEBUG"))
                severity = next((name for level, name in levels if record.levelno >= level), "TRACE")
                call = worker.speaker()
                call.emit("log", _in_span(call, {
                    "time": int(record.created * 1e9), "severity": severity, "logger": _text(record.name, NAME_BYTES_MAX),
                    "body": _text(body), "fields": fields,
                    "code": {"file": _text(record.pathname), "line": record.lineno,
                             "function": _text(record.funcName or "")},
                }))
            except Exception:
                self.handleError(record)

    ours = HostHandler()
    logging.root.addHandler(ours)
    logging.root.setLevel(logging.INFO)
    original = logging.basicConfig

    def basicConfig(**options):
        # It does nothing if the root logger has a handler: ours must not count. Handlers it makes for the
        # console are taken away again: the host gets the records themselves.
        root = logging.root
        had_ours = ours in root.handlers
        if had_ours:
            root.removeHandler(ours)
        before = list(root.handlers)
        try:
            original(**options)
        finally:
            for handler in list(root.handlers):
                if handler not in before and _writes_to_console(logging, handler):
                    root.removeHandler(handler)
            if had_ours or options.get("force"):
                root.addHandler(ours)

    basicConfig.__doc__ = original.__doc__
    logging.basicConfig = basicConfig


def _writes_to_console(logging, handler):
    return type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr)


class ImportHook:
    """Does something once a module is imported, for modules that must not be imported for it: `logging` costs more than
    the rest of this worker, and `opentelemetry` is mostly not there."""

    def __init__(self, then):
        self._then = then

    def find_spec(self, name, path=None, target=None):
        if name not in self._then:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            then = self._then.pop(name, None)
            if then is not None:
                then(module)

        spec.loader.exec_module = exec_module
        return spec


# --- OpenTelemetry in the plugin's environment ----------------------------------------------------------------


def _join_opentelemetry():
    """Before the plugin is loaded. What is imported later is noticed then; instrumentations would come too late."""
    loaded = sys.modules.get("opentelemetry.trace")
    if loaded is not None:  # by a .pth file of the environment
        _offering("offer_tracer")(loaded)
    # Not by importlib, whose search takes ten times as long for what mostly is not there.
    base = "/opentelemetry/instrumentation/instrumentor.py"
    if not any(os.path.isfile(entry + base) for entry in sys.path):
        return
    try:
        import opentelemetry.trace  # before the module that needs it

        _asset("spanglass_otel").instrument()
    except Exception as error:
        _warn("OpenTelemetry's instrumentations could not be activated", error)


def _offering(name):
    def offer(module):
        try:
            getattr(_asset("spanglass_otel"), name)(module)
        except Exception as error:  # a version that nobody knows yet: the plugin runs, its spans are lost
            _warn("%s could not be joined to the trace" % module.__name__, error)

    return offer


def _warn(message, error):
    worker.speaker().emit("log", {
        "time": time.time_ns(), "severity": "WARN", "logger": "spanglass",
        "body": "%s: %s" % (message, _describe(error)),
        "fields": {"exception.type": _type_name(type(error)), "exception.message": _text(error),
                   "exception.stacktrace": _traceback(error)},
    })


def _asset(name):
    """A module that lies beside this one."""
    sys.path.insert(0, os.path.dirname(_OWN_FILE))
    try:
        return __import__(name)
    finally:
        del sys.path[0]


# --- the plugin -----------------------------------------------------------------------------------------------


class LoadError(Exception):
    """The plugin cannot be used; the message says why."""

    def __init__(self, message, help=None):
        super().__init__(message)
        self.help = help


def _load_module(folder, path):
    """Imports `path` (relative to `folder`) under its real name, so that pickling finds it again."""
    file = os.path.join(folder, path)
    if not os.path.isfile(file):
        raise LoadError("there is no file %s" % path)
    parts = path[:-3].split("/") if path.endswith(".py") else [path.replace("/", "_").replace(".", "_")]
    place = os.path.dirname(file)
    if len(parts) > 1 and os.path.isfile(os.path.join(place, "__init__.py")):
        name = ".".join(parts)
    else:
        name = parts[-1]
        if place not in sys.path:
            sys.path.insert(0, place)
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == file:
            return known
        # A module of the standard library is called the same.
        name = "plugin_" + name
    elif path.endswith(".py") and all(part.isidentifier() for part in parts):
        module = __import__(name)
        for part in name.split(".")[1:]:
            module = getattr(module, part)
        if getattr(module, "__file__", None) == file:
            return module
        name = "plugin_" + name
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _public_functions(module):
    found = []
    for name, value in vars(module).items():
        if not name.startswith("_") and callable(value) and not isinstance(value, type):
            if getattr(value, "__module__", None) == module.__name__:
                found.append(name)
    return found


def _resolve(module, path, function, convention):
    found = _public_functions(module)
    if function is None and convention == "function":
        for name in ("invoke", "main"):
            if callable(getattr(module, name, None)):
                function = name
                break
        else:
            if len(found) != 1:
                listed = ": " + ", ".join(found) if found else ""
                raise LoadError("%s defines %s public functions; name one as %s:FUNCTION%s"
                                % (path, len(found) or "no", path, listed))
            function = found[0]
    target = module
    for part in (function or "invoke").split("."):
        target = getattr(target, part, None)
    if not callable(target):
        listed = "it defines " + ", ".join(found) if found else "it defines no function"
        raise LoadError("%s has no function `%s`; %s" % (path, function or "invoke", listed), _nearest(function, found))
    return target


def _nearest(name, names):
    """Help for whoever misspelt a name; None: nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(name or "", names, 1)
    return "did you mean `%s`?" % near[0] if near else None


def _wants_context(function):
    """Whether the function takes `ctx`: None (no), "positional" or "keyword"."""
    code = getattr(function, "__code__", None)
    if code is not None and not hasattr(function, "__wrapped__") and not hasattr(function, "__self__"):
        names, count = code.co_varnames, code.co_argcount
        required = count - len(function.__defaults__ or ())
        variable = bool(code.co_flags & 0x04)
        keyword_only = names[count:count + code.co_kwonlyargcount]
        keyword_required = [n for n in keyword_only if n not in (function.__kwdefaults__ or {})]
    else:
        import inspect

        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return None
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names, count = [p.name for p in positional], len(positional)
        required = sum(1 for p in positional if p.default is p.empty)
        variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        keyword_required = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    name = getattr(function, "__name__", "the entry point")
    if (count == 0 and not variable) or required > 2 or any(n != "ctx" for n in keyword_required):
        raise LoadError("%s must take (input_data) or (input_data, ctx)" % name)
    if "ctx" in keyword_only:
        return "keyword"
    if required == 2 or (count >= 2 and names[1] in ("ctx", "context")) or (variable and count < 2):
        return "positional"
    return None


class PluginFunction:
    """`f(input_data)` or `f(input_data, ctx)`."""

    encode = staticmethod(_encode)

    def __init__(self, function):
        self.function = function
        self.context = _wants_context(function)
        self.takes_context = self.context is not None

    def __call__(self, data, ctx):
        if self.context == "positional":
            return self.function(data, ctx)
        if self.context == "keyword":
            return self.function(data, ctx=ctx)
        return self.function(data)


# --- any function at all (`spanglass run`) --------------------------------------------------------------------


class AnyFunction:
    """Any function: the input's fields become its arguments, typed by its annotations."""

    WHOLE_INPUT = ("input_data", "input", "data", "payload")
    takes_context = True

    def __init__(self, function):
        import inspect

        self.function = function
        self.signature = inspect.signature(function)
        self.name = getattr(function, "__name__", "function")
        try:
            import typing

            self.types = typing.get_type_hints(function)
        except Exception:  # an annotation names something that does not exist: use what can be used
            self.types = {k: v for k, v in getattr(function, "__annotations__", {}).items() if not isinstance(v, str)}
        self.encode = _encoder(default=_friendly)

    def __call__(self, data, ctx):
        described = getattr(self.function, "spanglass_action", None)
        if described is not None:
            return described.call(_typed_by(described.input_schema, data), ctx)
        positional, named = self._bind(data, ctx)
        return self.function(*positional, **named)

    def _bind(self, data, ctx):
        parameters = self.signature.parameters
        own = [p for p in parameters.values() if p.name != "ctx"]
        context = {"ctx": ctx} if "ctx" in parameters else {}
        if len(own) == 1 and self._takes_whole_input(own[0]) and own[0].name not in data:
            if own[0].kind is own[0].POSITIONAL_ONLY:
                return [data], context
            return [], {own[0].name: data, **context}
        by_name = {p.name: p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in own)
        unknown = [key for key in data if key not in by_name]
        if unknown and not takes_any:
            self._refuse("there is no parameter `%s`" % "`, `".join(unknown))
        missing = [p.name for p in by_name.values() if p.default is p.empty and p.name not in data]
        if missing:
            self._refuse("`%s` is missing" % "`, `".join(missing))
        positional, named = [], dict(context)
        for key, value in data.items():
            parameter = by_name.get(key)
            if parameter is not None:
                value = self._convert(parameter, value)
            if parameter is None or parameter.kind is not parameter.POSITIONAL_ONLY:
                named[key] = value
        for parameter in by_name.values():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                if parameter.name not in data:
                    break
                positional.append(self._convert(parameter, data[parameter.name]))
        return positional, named

    def _takes_whole_input(self, parameter):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return False
        kind = self.types.get(parameter.name)
        if kind is None:
            return parameter.name in self.WHOLE_INPUT
        return getattr(kind, "__origin__", kind) is dict or (
            parameter.name in self.WHOLE_INPUT and (_is_typed_dict(kind) or getattr(kind, "__name__", "") == "Any")
        )

    def _convert(self, parameter, value):
        kind = self.types.get(parameter.name)
        if kind is None and type(parameter.default) in (bool, int, float):
            kind = type(parameter.default)
        if kind is None:
            return value
        try:
            return _convert(value, kind)
        except (TypeError, ValueError, ArithmeticError) as error:
            reason = "" if type(error) is not ValueError or not str(error) else ": %s" % _text(error, 200)
            self._refuse("`%s`: %s is not %s%s" % (parameter.name, _text(repr(value), 80), _kind_name(kind), reason))

    def _refuse(self, message):
        text = str(self.signature)
        raise InvalidInput("%s; the signature is %s%s" % (message, self.name, _text(text, 500)))


def _typed_by(schema, data):
    """Texts (of the command line) read as JSON, where the schema wants anything but text."""
    typed = dict(data)
    for name, text in data.items():
        types = schema.get("properties", {}).get(name, {}).get("type", "string")
        if isinstance(text, str) and "string" not in types:
            try:
                typed[name] = _decode(text)
            except ValueError:
                pass  # refused by the function itself, with the place
    return typed


def _is_typed_dict(kind):
    return isinstance(kind, type) and issubclass(kind, dict)


def _kind_name(kind):
    return getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind).replace("typing.", "")


_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def _convert(value, kind):
    """`value` as the annotation `kind` wants it. Strings are read, other values mostly left alone."""
    import typing
    from enum import Enum

    origin = typing.get_origin(kind)
    if origin is getattr(typing, "Annotated", object()) or hasattr(kind, "__metadata__"):
        return _convert(value, typing.get_args(kind)[0])
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return _convert_union(value, typing.get_args(kind))
    if origin is typing.Literal:
        for choice in typing.get_args(kind):
            if value == choice or (isinstance(value, str) and str(choice) == value):
                return choice
        raise ValueError("one of %s is wanted" % ", ".join(map(repr, typing.get_args(kind))))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _convert_enum(value, kind)
    base = origin or kind
    if kind is typing.Any or not isinstance(base, type):
        return value
    if isinstance(value, str):
        return _convert_text(value, base, typing.get_args(kind))
    if base is float and type(value) is int:
        return float(value)
    if base in (int, float, str, bool) and not isinstance(value, base):
        raise TypeError
    return _convert_structure(value, base, typing.get_args(kind))


def _convert_union(value, kinds):
    if value is None and type(None) in kinds:
        return None
    # A string fits `str` always: try what is narrower first.
    for kind in sorted(kinds, key=lambda kind: kind is str):
        if kind is type(None):
            continue
        try:
            return _convert(value, kind)
        except (TypeError, ValueError, ArithmeticError):
            pass
    if type(None) in kinds and value in ("", "null", "None", "none"):
        return None
    raise TypeError


def _convert_enum(value, kind):
    for member in kind:
        if value == member.name or value == member.value or str(member.value) == value:
            return member
    raise ValueError("one of %s is wanted" % ", ".join(member.name for member in kind))


def _convert_text(text, base, arguments):
    if base in (str, object):
        return text
    if base is bool:
        if text.lower() in _TRUE or text.lower() in _FALSE:
            return text.lower() in _TRUE
        raise TypeError
    if base in (int, float):
        return base(text)
    if base is type(None):
        if text in ("", "null", "None", "none"):
            return None
        raise TypeError
    if base is bytes:
        return text.encode("utf-8")
    module, name = base.__module__, base.__name__
    if module == "datetime" and hasattr(base, "fromisoformat"):
        return base.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if module in ("decimal", "fractions", "uuid") or module.startswith("pathlib"):
        return base(text)
    if base in (list, dict, tuple, set, frozenset) or module in ("collections.abc", "typing") \
            or _is_structure(base):
        try:
            value = _decode(text)
        except ValueError:
            raise ValueError("it is not JSON") from None
        return _convert_structure(value, base, arguments)
    return text


def _is_structure(base):
    return hasattr(base, "__dataclass_fields__") or hasattr(base, "model_validate") or _is_typed_dict(base)


def _convert_structure(value, base, arguments):
    if base in (tuple, set, frozenset) and isinstance(value, list):
        if base is not tuple and arguments:
            value = [_convert(item, arguments[0]) for item in value]
        return base(value)
    if base is list:
        if not isinstance(value, list):
            raise TypeError
        return [_convert(item, arguments[0]) for item in value] if arguments else value
    if base is dict or _is_typed_dict(base):
        if not isinstance(value, dict):
            raise TypeError
        return value
    if hasattr(base, "model_validate"):
        return base.model_validate(value)
    if hasattr(base, "__dataclass_fields__") and isinstance(value, dict):
        return base(**value)
    return value


def _friendly(value):
    """JSON for the common things that functions return and `json` does not know."""
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    kind = type(value)
    module = kind.__module__
    if hasattr(kind, "__members__") and hasattr(value, "value"):
        return value.value
    if module == "datetime" and hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8")
    if hasattr(value, "__fspath__") or module in ("decimal", "fractions", "uuid", "datetime", "ipaddress"):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if module.split(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, range) or kind.__name__ in ("deque", "dict_keys", "dict_values", "dict_items", "map",
                                                     "filter", "zip", "enumerate", "reversed"):
        return list(value)
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return {key: value[key] for key in value.keys()}
    raise TypeError("%s cannot be JSON" % _type_name(kind))


# --- errors ---------------------------------------------------------------------------------------------------


def _type_name(kind):
    module = getattr(kind, "__module__", "builtins")
    if module in ("builtins", "__main__") or module == __name__:
        return kind.__name__
    return "%s.%s" % (module, kind.__qualname__)


def _traceback(error):
    """The traceback without this worker's own frames, cut in the middle if it is long."""
    entry = error.__traceback__
    while entry is not None and _foreign(entry):
        entry = entry.tb_next
    try:
        # Not at the top, and it may fail: the plugin may have used up all descriptors.
        import traceback

        text = "".join(traceback.format_exception(type(error), error, entry))
    except Exception as failure:
        text = "%s (its traceback raised %s)\n" % (_type_name(type(error)), type(failure).__name__)
        while entry is not None:
            code = entry.tb_frame.f_code
            text += '  File "%s", line %d, in %s\n' % (code.co_filename, entry.tb_lineno, code.co_name)
            entry = entry.tb_next
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > TRACEBACK_BYTES_MAX:
        half = TRACEBACK_BYTES_MAX // 2 - 16
        data = data[:half] + b"\n  [...]\n" + data[-half:]
    return data.decode("utf-8", "ignore")


def _foreign(entry):
    name = entry.tb_frame.f_code.co_filename
    sdk = getattr(sys.modules.get("spanglass"), "__file__", None)
    return name == _OWN_FILE or name == sdk or name.startswith("<frozen importlib") or \
        (_otel is not None and name == _otel.__file__)


def _last_place(error, folder):
    """`file:line` where loading the plugin failed, in the plugin's own files."""
    if isinstance(error, SyntaxError) and error.filename:
        return "%s:%s" % (os.path.relpath(error.filename, folder), error.lineno)
    place, entry = None, error.__traceback__
    while entry is not None:
        name = entry.tb_frame.f_code.co_filename
        if name.startswith(folder + os.sep):
            place = "%s:%d" % (os.path.relpath(name, folder), entry.tb_lineno)
        entry = entry.tb_next
    return place


def _find_offender(value):
    """The path of the first value in an output that cannot be JSON, what it is, and the value."""
    stack, seen = [("$", value, 0)], 0
    while stack:
        path, value, depth = stack.pop()
        seen += 1
        if seen > SEARCH_VALUES_MAX:
            return None
        if depth > SEARCH_DEPTH_MAX:
            return "$", "it is nested too deeply, or contains itself", None
        kind = type(value)
        if isinstance(value, str):
            if not value.isascii():
                try:
                    value.encode("utf-8")
                except UnicodeEncodeError:
                    return path, "a string with a lone surrogate", value
        elif isinstance(value, float):
            if value - value != 0:
                return path, repr(float(value)), value
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, (str, int, float, bool, type(None))):
                    return path, "a key of type %s" % _type_name(type(key)), None
                key = _text(key, 80)
                stack.append((path + "." + key if key.isidentifier() else "%s[%r]" % (path, key), item, depth + 1))
        elif isinstance(value, (list, tuple)):
            stack.extend(("%s[%d]" % (path, i), item, depth + 1) for i, item in enumerate(value))
        elif not isinstance(value, (int, bool, type(None))):
            return path, "a value of type %s" % _type_name(kind), value
    return None


def _advice(value):
    """What to return instead of a value that `_find_offender` has found; None: that depends."""
    kind = type(value)
    if isinstance(value, float):
        return "JSON has no NaN and no Infinity: return None instead"
    if isinstance(value, type):
        return None
    if hasattr(kind, "__dataclass_fields__"):
        return "return a dict: dataclasses.asdict(value)"
    if hasattr(kind, "model_dump"):
        return "return a dict: value.model_dump(mode='json')"
    if hasattr(kind, "__members__"):
        return "return its value: value.value"
    if kind.__module__ == "datetime" and hasattr(value, "isoformat"):
        return "return text: value.isoformat()"
    if kind.__module__ in ("decimal", "fractions"):
        return "return text or a number: str(value) or float(value)"
    if kind.__module__ in ("uuid", "ipaddress") or hasattr(value, "__fspath__"):
        return "return text: str(value)"
    if isinstance(value, (set, frozenset)):
        return "return a list: sorted(value)"
    if isinstance(value, (bytes, bytearray)):
        return "return text: value.decode(), or base64 if it is no text"
    if kind.__module__.split(".")[0] == "numpy" and hasattr(value, "tolist"):
        return "return numbers: value.tolist()"
    if hasattr(value, "__next__") or kind.__name__ in ("range", "deque", "dict_keys", "dict_values", "dict_items"):
        return "return a list: list(value)"
    return None


class OutputError(Exception):
    def __init__(self, kind, message, help=None):
        super().__init__(message)
        self.kind = kind
        self.help = help


# --- the worker -----------------------------------------------------------------------------------------------


class Worker:
    def __init__(self):
        self.channel = Channel()
        self.current = self.idle = Call(None)
        self.functions = {}
        self.actions = []
        self.modules = []
        self.config_json = "{}"
        self.secrets = {}
        self.debugger = None
        # The running call's frame, and between calls the last one's.
        self.command = None
        self._loop = None
        self._fflush = None
        self._modules_seen = 0
        self._usage = Usage()
        # How the process was when it got ready; each call finds it so.
        self._folder = self._umask = None
        # The empty folder that belongs to this worker; None: it runs where the user is.
        self._scratch = None
        self._descriptors_max = DESCRIPTORS_MAX
        self._console = ()
        self._helpers = self._residents = frozenset()
        # Threads that outlived their call, and the lines that they have begun. What they say belongs to no call.
        self._strangers = {}
        self._stray = Call(None)
        # A copy is being made, which is a worker of its own.
        self._copying = False

    # --- start and end

    def main(self):
        for descriptor in (FRAMES_IN, FRAMES_OUT):
            os.set_inheritable(descriptor, False)
        self._own_stdio()
        os.register_at_fork(after_in_child=self._forked)
        sys.meta_path.insert(0, ImportHook({
            "logging": _install_logging, "opentelemetry.trace": _offering("offer_tracer"),
            "opentelemetry._logs._internal": _offering("offer_logger"),
            "opentelemetry._events": _offering("offer_event_logger"),
        }))
        while True:
            command = self.channel.next_command()
            kind = "shutdown" if command is None else command.get("t")
            if kind == "call":
                self._call(command)
            elif kind == "hello":
                self._hello(command)
            elif kind == "health":
                self._health(command)
            elif kind == "shutdown":
                self._leave()

    def _forked(self):
        if not self._copying:
            self.channel.mute()

    def _own_stdio(self):
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            raw = io.FileIO(descriptor, "w", closefd=False)
            stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)
            stream.mode = "w"
            setattr(sys, name, stream)
            setattr(sys, "__%s__" % name, stream)
        self._streams = (sys.stdout, sys.stderr)
        if self._strangers:
            self._divert()

    def _hello(self, hello):
        self.channel.frame_bytes_max = hello.get("max_frame") or self.channel.frame_bytes_max
        self.config_json = _encode(hello.get("config") or {})
        self.secrets = hello.get("secrets") or {}
        folder = os.path.abspath(hello["folder"])
        self._scratch = os.getcwd() if hello.get("convention") != "function" else None
        ready = {"t": "ready", "v": PROTOCOL_VERSION, "language": "python", "version": sys.version.split()[0]}
        forks = None
        try:
            if hello.get("forks"):
                forks = ForkServer(self)
            if hello.get("debug") is not None:
                self._debug(hello["debug"], folder)
            if not self.functions:
                self._load(folder, hello["entrypoints"], hello.get("convention"))
            if forks is not None:
                why = forks.refusal()
                if why is not None:
                    ready["spawn_only"] = _text(why, NAME_BYTES_MAX)
                    forks.close()
                self._flush()
                self.channel.send(ready)
                if why is None:
                    forks.serve()
                return
            # Any function may be what `spanglass run` is asked for, one called `health` too.
            hooks = ("on_stop",) if hello.get("convention") == "function" else ("on_stop", "health")
            ready["hooks"] = [name for name in hooks if self._hooks(name)]
            if self._hooks("on_start"):
                self.channel.send({"t": "on_start"})
            self._hook("on_start")
        except BaseException as error:
            message = str(error) if isinstance(error, LoadError) else _describe(error)
            place = None if isinstance(error, LoadError) else _last_place(error, folder)
            if place is not None and place not in message:
                message = "%s (%s)" % (message, place)
            ready["error"] = {"type": _type_name(type(error)), "message": _text(message),
                              "traceback": "" if isinstance(error, LoadError) else _traceback(error)}
            if isinstance(error, LoadError):
                # Who asks for a function by name has it wrong himself; an entry point is the plugin's own matter.
                if hello.get("convention") == "function":
                    ready["error"]["kind"] = "invalid_input"
                if error.help is not None:
                    ready["error"]["help"] = error.help
            if isinstance(error, ModuleNotFoundError) and error.name:
                ready["error"]["missing_module"] = error.name
        self._flush()
        self._usage.end()  # what was used so far belongs to no call
        self._remember()
        self.channel.send(ready)

    def _debug(self, settings, folder):
        self.debugger = _asset("spanglass_debugger").start(settings, folder)

    def _load(self, folder, entrypoints, convention):
        sys.path.insert(0, folder)
        _join_opentelemetry()
        wrap = AnyFunction if convention == "function" else PluginFunction
        for action, entrypoint in entrypoints.items():
            path, _, function = entrypoint.partition(":")
            sys.argv = [os.path.join(folder, path)]
            module = _load_module(folder, path)
            if module not in self.modules:
                self.modules.append(module)
            target = _resolve(module, path, function or None, convention)
            self.actions.append(target)
            self.functions[action] = wrap(target)

    def _hooks(self, name):
        """The functions of that name which are hooks: a module's own, unless they are actions."""
        found = []
        for module in self.modules:
            hook = getattr(module, name, None)
            if callable(hook) and getattr(hook, "__module__", None) == module.__name__ and hook not in self.actions:
                found.append(hook)
        return found

    def _hook(self, name):
        """Runs a hook of each module that has it; returns what they return."""
        results = []
        for hook in self._hooks(name):
            ctx = Context(self.idle, name, None, None, None, None, 0, None)
            code = getattr(hook, "__code__", None)
            result = hook() if code is not None and code.co_argcount == 0 else hook(ctx)
            if hasattr(type(result), "__await__"):
                result = self._event_loop().run_until_complete(_awaiting(result))
            results.append(result)
        return results

    def _health(self, command):
        answer = {"t": "healthy", "id": command.get("id"), "ok": True}
        try:
            # `is`: a hook that returns nothing has found nothing wrong.
            answer["ok"] = not any(result is False for result in self._hook("health"))
        except BaseException as error:
            answer["ok"] = False
            answer["message"] = "health raised %s: %s" % (_type_name(type(error)), _text(error))
        self._flush()
        self.channel.send(answer)

    def _leave(self):
        code = 0
        if not self.channel.muted:
            try:
                self._hook("on_stop")
                import atexit

                atexit._run_exitfuncs()
            except BaseException as error:
                code = 1
                sys.stderr.write(_traceback(error))
        self._flush()
        os._exit(code)

    # --- one call

    def _call(self, command):
        if self._strangers:
            self._forget_strangers()
        call = self.current = Call(command["id"])
        self.command = command
        self._usage.begin()
        stream = Stream(self, call, command.get("output_max") or self.channel.frame_bytes_max)
        if _otel is not None:
            _otel.begin(call, command)
        try:
            function = self.functions.get(command.get("action"))
            if function is None:
                raise LoadError("there is no action `%s`" % command.get("action"))
            stream.encode = function.encode
            ctx = function.takes_context and Context(
                call, command.get("action"), command.get("invocation_id"), command.get("traceparent"),
                command.get("tracestate"), command.get("baggage"), command.get("attempt", 1),
                time.monotonic() + command.get("deadline_ms", 0) / 1000)
            if self.debugger is not None:
                self.debugger.enter()
            result = function(command.get("input"), ctx)
            if type(result) not in _PLAIN:
                result = self._settle(result, stream)
            if stream.used:
                end = '{"t":"end","id":%d,"chunks":%d' % (call.id, stream.count)
            else:
                end = '{"t":"end","id":%d,"output":%s' % (call.id, stream.checked(result))
            end = end.encode("utf-8")
        except BaseException as error:
            if self.debugger is not None:
                self.debugger.failed(error)
            end = self._failure(call, error)
        if self.debugger is not None:
            self.debugger.leave()
        if _otel is not None:
            _otel.end()
        if _thread_count():
            self._estrange()
        # Before the reply, so that all output of the call is in the pipes when the host sees it.
        self._flush()
        call.ended = True
        self.current = self.idle
        self.channel.abandon_asks()
        if call.dropped:
            end += (',"dropped":' + _encode(call.dropped)).encode()
        if _leaves_children(self._helpers) or self._leaks_descriptors():
            end += b',"last":true'
        self.channel.send_bytes(end + self._usage.end())
        self._restore()

    def _remember(self):
        try:
            self._folder = os.getcwd()
        except OSError:
            pass  # somebody has removed it
        self._umask = os.umask(0o77)
        os.umask(self._umask)
        self._console = (sys.stdout, sys.stderr)
        self._helpers = frozenset(_children())
        if _thread_count():
            self._residents = frozenset(sys.modules["threading"].enumerate()) if "threading" in sys.modules else ()
        try:
            free = _free_descriptor()
        except OSError:
            return  # the plugin has taken them all; each call will be its worker's last
        granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource is not None else -1
        half = free + (granted - free) // 2 if granted > 0 else free + DESCRIPTORS_MAX
        self._descriptors_max = min(half, free + DESCRIPTORS_MAX)

    def _leaks_descriptors(self):
        """Whether so many descriptors are open that a later call might get none. It costs about 1 µs."""
        try:
            return _free_descriptor() > self._descriptors_max
        except OSError:
            return True  # there is none

    def _renew_folder(self):
        """A call has removed the working folder: the next one finds it empty, not gone."""
        if self._folder != self._scratch:
            return
        try:
            os.mkdir(self._folder, 0o700)
            os.chdir(self._folder)
        except OSError:
            pass

    def _restore(self):
        """Takes back what a call changed and nobody expects to be another's. It costs about 1.5 µs."""
        if self.channel.muted:
            return
        try:
            moved = os.getcwd() != self._folder
        except OSError:
            moved = True
        if moved and self._folder is not None:
            try:
                os.chdir(self._folder)
            except OSError:
                self._renew_folder()
        os.umask(self._umask)
        out, error = self._console
        if sys.stdout is not out or sys.stderr is not error:
            sys.stdout, sys.stderr = out, error
        if getattr(out, "closed", False) or getattr(error, "closed", False):
            self._own_stdio()
            self._console = (sys.stdout, sys.stderr)

    # --- threads that outlive their call

    def speaker(self):
        """Whose call the running thread speaks for."""
        if self._strangers and self._is_strange():
            return self._stray
        return self.current

    def _is_strange(self):
        # Not `current_thread()`, which makes an entry for a thread that `threading` did not start.
        return sys.modules["threading"]._active.get(get_ident()) in self._strangers

    def _estrange(self):
        """A call ends: its threads that still run speak for no later one."""
        threading = sys.modules.get("threading")
        if threading is None:
            return
        pools = sys.modules.get("concurrent.futures.thread")
        pooled = pools._threads_queues if pools is not None else ()
        first = not self._strangers
        for thread in threading.enumerate():
            # A pool's threads do what the running call asks for. So do, it must be hoped, those of the start.
            if thread is not threading.main_thread() and thread not in pooled and thread not in self._residents:
                self._strangers.setdefault(thread, {})
        if first and self._strangers:
            self._divert()

    def _forget_strangers(self):
        self._stray = Call(None)
        for thread in [thread for thread in self._strangers if not thread.is_alive()]:
            del self._strangers[thread]

    def _divert(self):
        """From now on each write asks who writes. Only a worker with such threads pays for it."""
        for stream, name, severity in zip(self._streams, ("stdout", "stderr"), ("INFO", "WARN")):
            stream.write = self._diverted(type(stream).write.__get__(stream), name, severity)
        threading = sys.modules["threading"]
        start = threading.Thread.start
        if getattr(start, "__module__", None) == __name__:
            return

        def inheriting_start(thread):
            if self._strangers and self._is_strange():
                self._strangers.setdefault(thread, {})
            return start(thread)

        threading.Thread.start = inheriting_start

    def _diverted(self, write, name, severity):
        main = get_ident()

        def diverted(text):
            if get_ident() == main or not self._strangers or self.channel.muted or not self._is_strange():
                return write(text)
            if not isinstance(text, str):
                raise TypeError("write() argument must be str, not %s" % type(text).__name__)
            begun = self._strangers[sys.modules["threading"]._active[get_ident()]]
            *lines, rest = (begun.pop(name, "") + text).split("\n")
            for line in filter(None, lines):
                self._stray.emit("log", {"time": time.time_ns(), "severity": severity, "stream": name,
                                         "body": _text(line)})
            begun[name] = rest[:TEXT_BYTES_MAX]
            return len(text)

        return diverted

    def _settle(self, result, stream):
        """Awaits or streams what the function returned, by what it is, not by how the function looks."""
        kind = type(result)
        if hasattr(kind, "__await__"):
            result = self._event_loop().run_until_complete(_awaiting(result))
            return result if type(result) in _PLAIN else self._settle(result, stream)
        if hasattr(kind, "__anext__") and hasattr(kind, "asend"):
            stream.used = True
            self._event_loop().run_until_complete(_streaming(result, stream))
        elif hasattr(kind, "__next__") and hasattr(kind, "send"):
            stream.used = True
            try:
                for part in result:
                    stream.send(part)
            finally:
                result.close()
        return result

    def _event_loop(self):
        if self._loop is None or self._loop.is_closed():
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def _failure(self, call, error):
        frame = {"t": "error", "id": call.id, "kind": "plugin_error", "type": _type_name(type(error)),
                 "message": _text(error), "traceback": ""}
        if isinstance(error, OutputError):
            frame["kind"] = error.kind
            if error.help is not None:
                frame["help"] = error.help
        elif isinstance(error, InvalidInput):
            frame["kind"] = "invalid_input"
        elif isinstance(error, LoadError):
            frame["kind"] = "unavailable"
        elif isinstance(error, SystemExit):
            frame["message"] = "the plugin called sys.exit(%s)" % ("" if error.code is None else repr(error.code)[:200])
            frame["traceback"] = _traceback(error)
        else:
            frame["traceback"] = _traceback(error)
            if isinstance(error, Unavailable):
                frame["kind"] = "unavailable"
                if error.retry_after is not None:
                    frame["retry_after_ms"] = max(0, int(float(error.retry_after) * 1000))
        return _encode(frame).encode("utf-8", "replace")[:-1]

    def _flush(self):
        """Everything that was printed is in the pipes when this returns."""
        streams = self._streams
        if sys.stdout is not streams[0] or sys.stderr is not streams[1]:
            streams = {id(s): s for s in (sys.stdout, sys.stderr) + streams}.values()
        for stream in streams:
            try:
                stream.flush()
            except Exception:
                pass  # the plugin closed or replaced it
        if len(sys.modules) != self._modules_seen:
            self._modules_seen = len(sys.modules)
            if self._fflush is None:
                self._fflush = _c_flush()
        if self._fflush is not None:
            self._fflush()


class Stream:
    """Sends the parts of a streamed output."""

    __slots__ = ("used", "count", "encode", "_worker", "_call", "_left")

    def __init__(self, worker, call, bytes_max):
        self.used = False
        self.count = 0
        self._worker = worker
        self._call = call
        self._left = bytes_max

    def checked(self, value):
        """`value` as JSON text that is within the bound."""
        try:
            text = self.encode(value)
            size = len(text) if text.isascii() else len(text.encode("utf-8"))
        except (TypeError, ValueError, RecursionError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise OutputError("invalid_output", "the output holds bytes that are not UTF-8") from None
            found = _find_offender(value)
            if found is None:
                raise OutputError("invalid_output", "the output is not JSON: %s" % _text(error)) from None
            raise OutputError("invalid_output", "the output is not JSON at %s: %s" % found[:2],
                              _advice(found[2])) from None
        self._left -= size
        if self._left < 0:
            raise OutputError("output_too_large", "the output is larger than limits.max_output")
        return text

    def send(self, part):
        text = self.checked(part)
        self._worker._flush()
        self._worker.channel.send_bytes(
            ('{"t":"chunk","id":%d,"seq":%d,"data":%s}' % (self._call.id, self.count, text)).encode("utf-8"))
        self.count += 1


async def _awaiting(result):
    return await result


async def _streaming(parts, stream):
    try:
        async for part in parts:
            stream.send(part)
    finally:
        await parts.aclose()


def _describe(error):
    if isinstance(error, SystemExit):
        return "the plugin called sys.exit(%s) while it was loaded" % ("" if error.code is None else repr(error.code))
    text = _text(error)
    return "%s: %s" % (_type_name(type(error)), text) if text else _type_name(type(error))


class Usage:
    """CPU time and peak memory of this process and the children that it has reaped, call by call."""

    def __init__(self):
        self._began = self._of_children = 0.0

    def begin(self):
        # The time that `resource` tells, for less: there the kernel fills in sixteen numbers.
        self._began = time.process_time()

    def end(self):
        """What the call used, as the rest of its last frame."""
        if resource is None:
            return b',"usage":{"cpu_us":%d,"rss_peak_kib":0}}' % max((time.process_time() - self._began) * 1e6, 0)
        own = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Children are asked for once a call: who was reaped between two calls counts for the second.
        of_children = children.ru_utime + children.ru_stime
        cpu = own.ru_utime + own.ru_stime - self._began + of_children - self._of_children
        self._of_children = of_children
        peak = own.ru_maxrss // 1024 if sys.platform == "darwin" else own.ru_maxrss
        return b',"usage":{"cpu_us":%d,"rss_peak_kib":%d}}' % (max(cpu * 1e6, 0), peak)


def _free_descriptor():
    """The lowest number that is not in use: so many descriptors are open, at least."""
    free = os.dup(FRAMES_OUT)
    os.close(free)
    return free


def _children():
    """Process ids of the children of all threads."""
    pids = []
    try:
        for thread in os.listdir("/proc/self/task"):
            try:
                with open("/proc/self/task/%s/children" % thread) as file:
                    pids.extend(map(int, file.read().split()))
            except FileNotFoundError:
                pass  # the thread has ended, or the kernel tells nothing
    except OSError:
        pass
    return pids


def _leaves_children(helpers):
    """Whether children live on that were not there when the worker got ready."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):
        return False
    # It holds what plugins share between processes, and does nothing else.
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    tracker = getattr(tracker, "_pid", None)
    zombies = 0
    for pid in _children():
        if pid in helpers or pid == tracker:
            continue
        try:
            # Left to be waited for by whoever started it.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return True
        except ChildProcessError:
            continue
        zombies += 1
    return zombies > ZOMBIES_MAX


def _c_flush():
    """`fflush(stdout)`, once something is loaded that may print by it. Not `fflush(NULL)`: that waits for locks."""
    if "ctypes" not in sys.modules:
        own = os.path.join(sys.base_prefix, "lib", "python%d.%d" % sys.version_info[:2], "lib-dynload")
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None) or ""
            if file.endswith(".so") and not file.startswith(own):
                break
        else:
            return None
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        flush = libc.fflush
    except Exception:
        return lambda: None
    return lambda: flush(stdout)


# --- the fork server ------------------------------------------------------------------------------------------


class ForkServer:
    """A process that has loaded the plugin and gets no calls. Asked by the control socket, it copies itself: a
    worker that need not import anything. Made before the plugin is loaded, with what plugins may replace."""

    def __init__(self, owner):
        import _socket
        import fcntl
        from select import POLLIN, poll

        self._owner = owner
        self._fork_flags = _socket.MSG_CMSG_CLOEXEC
        descriptor = fcntl.fcntl(CONTROL, fcntl.F_DUPFD_CLOEXEC, CONTROL_KEPT)
        os.close(CONTROL)
        self._control = _socket.socket(-1, -1, -1, descriptor)
        self._rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        self._room = _socket.CMSG_SPACE(4 * 5)
        self._poll = poll()
        self._readable = POLLIN
        self._poll.register(descriptor, POLLIN)
        # Process ids of the copies by their pidfds.
        self._copies = {}

    def close(self):
        self._control.close()

    def refusal(self):
        """Why the plugin cannot be copied; None: it can."""
        if not hasattr(os, "pidfd_open") or resource is None:
            return "this Python lacks os.pidfd_open or the module resource"
        self._die_with_parent = _death_signal()
        if self._die_with_parent is None:
            return "this Python cannot call prctl"
        threading = sys.modules.get("threading")
        if _thread_count():
            names = [t.name for t in threading.enumerate() if t is not threading.main_thread()] if threading else []
            return "loading the plugin started a thread%s, which copies would lack" % (
                " (%s)" % ", ".join(names) if names else "")
        if "grpc._cython.cygrpc" in sys.modules:
            return "the plugin has loaded grpc, which does not work in copies"
        held = _connections(self._control.fileno()) or _open_database()
        if held:
            return "loading the plugin opened %s, which copies would share" % held
        return None

    def serve(self):
        """Returns in the copies only."""
        import gc

        # What lives now lives in every copy: a collection there must not touch it, else it would be copied.
        gc.collect()
        gc.freeze()
        control = self._control.fileno()
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != control:
                    self._bury(descriptor)
                elif self._asked():
                    return

    def _asked(self):
        """Does what the control socket says; True in the copy."""
        try:
            data, ancillary, _, _ = self._control.recvmsg(CONTROL_BYTES_MAX, self._room, self._fork_flags)
        except OSError:
            data, ancillary = b"", []
        if not data:
            # Nobody wants copies any more, and there is none.
            os._exit(0)
        descriptors = []
        for level, kind, body in ancillary:
            if (level, kind) == self._rights:
                descriptors += [int.from_bytes(body[i:i + 4], sys.byteorder) for i in range(0, len(body) // 4 * 4, 4)]
        command = _decode(data.decode("utf-8"))
        if command.get("t") == "fork" and len(descriptors) == 4:
            if self._copy(command, descriptors):
                return True
        for descriptor in descriptors:
            os.close(descriptor)
        return False

    def _copy(self, command, descriptors):
        owner, parent = self._owner, os.getpid()
        owner._flush()
        owner._copying = True
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"t": "failed", "seq": command["seq"], "error": "it cannot be copied: %s" % error})
            return False
        finally:
            owner._copying = False
        if pid == 0:
            try:
                self._become_worker(parent, command, descriptors)
            except BaseException as error:
                sys.stderr.write(_traceback(error))
                sys.stderr.flush()
                os._exit(1)
            return True
        try:
            # As the copy does itself: whoever comes second finds it done.
            os.setpgid(pid, pid)
        except OSError:
            pass
        pidfd = os.pidfd_open(pid)
        self._copies[pidfd] = pid
        self._poll.register(pidfd, self._readable)
        self._say({"t": "started", "seq": command["seq"], "pid": pid}, pidfd)
        return False

    def _become_worker(self, parent, command, descriptors):
        self._die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        os.setpgid(0, 0)
        self._control.close()
        for pidfd in self._copies:
            os.close(pidfd)
        for descriptor, number in zip(descriptors, (1, 2, FRAMES_IN, FRAMES_OUT)):
            os.dup2(descriptor, number, inheritable=number < FRAMES_IN)
            os.close(descriptor)
        os.chdir(command["cwd"])
        owner = self._owner
        owner.channel.renew()
        owner._usage = Usage()
        # Python's own generator is seeded anew by a fork; this one is not.
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            numpy.seed()

    def _bury(self, pidfd):
        pid = self._copies.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        try:
            # Before it is reaped, while the id of the group cannot have been given to another.
            os.killpg(pid, 9)
        except OSError:
            pass
        end = {"t": "exit", "pid": pid, "code": None, "signal": None, "cpu_us": 0, "memory_peak_kib": 0}
        try:
            _, status, usage = os.wait4(pid, 0)
        except ChildProcessError:
            pass  # the plugin waits for all children, by a signal handler of its own, or ignores SIGCHLD
        else:
            if os.WIFEXITED(status):
                end["code"] = os.WEXITSTATUS(status)
            elif os.WIFSIGNALED(status):
                end["signal"] = os.WTERMSIG(status)
            end["cpu_us"] = int((usage.ru_utime + usage.ru_stime) * 1e6)
            end["memory_peak_kib"] = usage.ru_maxrss
        self._say(end)

    def _say(self, message, *descriptors):
        rights = [self._rights + (b"".join(d.to_bytes(4, sys.byteorder) for d in descriptors),)] if descriptors else []
        try:
            self._control.sendmsg([_encode(message).encode("utf-8")], rights)
        except OSError:
            pass  # the host has gone: the next read says so


def _death_signal():
    """`prctl(PR_SET_PDEATHSIG, SIGKILL)` as a function: the process dies with its parent. None: there is no way.
    Not by `ctypes`, whose import costs every start some milliseconds, if its inner module serves."""
    try:
        import _ctypes

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        call = lambda: _ctypes.call_cdeclfunction(prctl, (1, 9, 0, 0, 0))
    except Exception:
        try:
            import ctypes

            prctl = ctypes.CDLL(None).prctl
            call = lambda: prctl(1, 9, 0, 0, 0)
        except Exception:
            return None
    return call


def _connections(own):
    """What a process should not share with its copies, of the descriptors that are open; None: nothing."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None
    for name in names:
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if target.startswith("socket:") and int(name) != own:
            return "a socket (descriptor %s)" % name
    return None


def _open_database():
    """SQLite forbids to carry a connection over a fork: its locks would be lost. None: there is none."""
    sqlite = sys.modules.get("_sqlite3")
    if sqlite is None:
        return None
    import gc

    if any(isinstance(found, sqlite.Connection) for found in gc.get_objects()):
        return "an SQLite database"
    return None


worker = Worker()
