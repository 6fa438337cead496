"""What joins the plugin's OpenTelemetry to the call's trace: a tracer and a logger provider that need nothing but
`opentelemetry-api`. Loaded once the plugin, or a library that it uses, has imported `opentelemetry.trace`.

No threads, no queue: a span is one frame, sent when it ends. Nothing here is made at import that two forked workers
must not share.
"""

import functools
import inspect
import os
import sys
import time

import spanglass_worker as host
from opentelemetry import context as contexts
from opentelemetry import trace

# Names of instrumentations that are not activated, or `*`; as for `opentelemetry-instrument`.
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
# Options for those that would else do what the worker does itself: it sends the records of `logging`.
OPTIONS = {"logging": {"enable_log_auto_instrumentation": False}}
# What the plugin cannot have meant to install without: its absence is worth a line.
NEEDED = ("opentelemetry", "pkg_resources", "wrapt")
TIME_MAX = 2**63 - 1

_EMPTY = contexts.Context()
_UNSET, _OK, _ERROR = trace.StatusCode.UNSET, trace.StatusCode.OK, trace.StatusCode.ERROR
# The span of the running call and what ends its being attached.
_running = _attached = None


# --- the call and what is open in it --------------------------------------------------------------------------


class Place:
    """A span of ours, as a parent: `root` is the span of its call, `hex` its id, None for that root itself."""

    root = hex = _made = None

    @property
    def _context(self):
        # Most spans are never asked for it.
        if self._made is None:
            trace_id, _, _, flags, state = self.root.get_span_context()[:5]
            self._made = trace.SpanContext(trace_id, int(self.hex, 16), False, flags, state)
        return self._made

    def get_span_context(self):
        return self._context


class CallSpan(Place, trace.NonRecordingSpan):
    """`execute`, the host's span of the call. The plugin cannot write on it."""

    def __init__(self, call, command):
        self.root = self
        self.call = call
        self._told = command.get("traceparent") or "", command.get("tracestate")
        # Spans that have begun and not ended. Whoever takes one out ends it.
        self.open = {}
        self.closed = False

    @property
    def _context(self):
        if self._made is None:
            traceparent, state = self._told
            state = trace.TraceState.from_header([state]) if state else None
            try:
                _, trace_id, span_id, flags = traceparent.split("-")[:4]
                self._made = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True,
                                               trace.TraceFlags(int(flags, 16)), state)
            except ValueError:  # never from the host
                self._made = trace.INVALID_SPAN_CONTEXT
        return self._made

    def close(self):
        """The call ends, and with it what was left open."""
        self.closed = True
        while self.open:
            try:
                span, _ = self.open.popitem()
            except KeyError:  # a thread has just ended it
                break
            span.attributes["otel.unended"] = True
            span._send(time.time_ns())


class CutSpan(Place, trace.NonRecordingSpan):
    """A span beyond the call's bound: what is opened under it stands where it would have stood."""

    def __init__(self, parent):
        self.root = parent.root
        self.hex = parent.hex
        self._made = parent.get_span_context()


class StepSpan(Place, trace.Span):
    """A `ctx.span(…)` as OpenTelemetry sees it. Its `with` ends it, `end` does not."""

    def __init__(self, root, step):
        self.root = root
        self.hex = step.id
        self.step = step
        self.entered = True

    def end(self, end_time=None):
        pass

    def is_recording(self):
        return self.entered

    def set_attribute(self, key, value):
        if self.entered and isinstance(key, str) and key:
            self.step.set_attribute(key, _value(value))

    def set_attributes(self, attributes):
        for key, value in (attributes or {}).items():
            self.set_attribute(key, value)

    def add_event(self, name, attributes=None, timestamp=None):
        if self.entered:
            self.step.event(name, **_attributes(attributes))

    def add_link(self, context, attributes=None):
        if self.entered and context.is_valid:
            self.add_event("link", _link(context, attributes))

    def update_name(self, name):
        if self.entered:
            self.step.name = name

    def set_status(self, status, description=None):
        code, description = _status(status, description)
        if self.entered and code is _ERROR:
            self.step.set_error(description or "error")

    def record_exception(self, exception, attributes=None, timestamp=None, escaped=False):
        self.add_event("exception", _exception(exception, attributes, escaped))


def begin(call, command):
    """A call begins: its `execute` span is what OpenTelemetry finds open."""
    global _running, _attached
    try:
        root = CallSpan(call, command)
        context = trace.set_span_in_context(root, _EMPTY)
        baggage = command.get("baggage")
        if baggage:
            from opentelemetry.baggage.propagation import W3CBaggagePropagator

            context = W3CBaggagePropagator().extract({"baggage": baggage}, context)
        _attached = contexts.attach(context)
    except Exception as error:  # the call does not depend on it
        warn("OpenTelemetry gets no trace context", error)
    else:
        _running = root


def end():
    global _running, _attached
    if _running is None:
        return
    _running.close()
    _detach(_attached, _EMPTY)
    _running = _attached = None


def _leave(span, token, before):
    # A generator of an earlier call that is closed now must not bring that call's context back.
    if not isinstance(span, Place) or not span.root.closed:
        _detach(token, before)


def _detach(token, before):
    """`context.detach`, but that writes an error where a generator is left in another context than it was entered."""
    try:
        contexts._RUNTIME_CONTEXT.detach(token)
    except Exception:
        contexts.attach(before)


def enter(step):
    """A `ctx.span` is entered: it is OpenTelemetry's current span, and its parent is what was."""
    root = _running
    if root is None or step._call is not root.call:
        return None
    before = contexts.get_current()
    span = StepSpan(root, step)
    return span, span_id(step._call), before, contexts.attach(trace.set_span_in_context(span, before))


def leave(entered):
    """Returns the parent's id."""
    span, parent_id, before, token = entered
    span.entered = False
    _leave(span, token, before)
    return parent_id


def span_id(call):
    """The id of the span of `call` that is open here; None: `execute`."""
    span = trace.get_current_span()
    if isinstance(span, Place) and span.root.call is call:
        return span.hex
    # Nothing, or a span of a provider that is not ours: the host would not know it.
    step = host._open_span.get()
    return step.id if step is not None and step._call is call else None


# --- spans ----------------------------------------------------------------------------------------------------


class RecordedSpan(Place, trace.Span):
    def __init__(self, root, parent_id, name, kind, scope, records_exception, sets_status, start):
        self.root = root
        self.hex = os.urandom(8).hex()
        self.parent_id = parent_id
        self.name = name
        self.kind = kind
        self.attributes = {}
        self.scope = scope
        self.events = []
        self.status, self.description = _UNSET, None
        self.records_exception, self.sets_status = records_exception, sets_status
        self.start = start

    def is_recording(self):
        return self in self.root.open

    def end(self, end_time=None):
        if self.root.open.pop(self, None):
            self._send(_time(end_time))

    def _send(self, end):
        for key, value in self.scope.items():
            if len(self.attributes) < host.FIELDS_MAX:
                self.attributes.setdefault(key, value)
        frame = {"span_id": self.hex, "name": host._text(self.name, host.NAME_BYTES_MAX), "start": self.start,
                 "end": end, "attributes": self.attributes, "events": self.events}
        if self.parent_id is not None:
            frame["parent_id"] = self.parent_id
        if self.kind is not trace.SpanKind.INTERNAL:
            frame["kind"] = self.kind.name.lower()
        if self.status is _ERROR:
            frame["error"] = host._text(self.description or "error")
        self.root.call.send("span", frame)

    def set_attribute(self, key, value):
        attributes = self.attributes
        if not isinstance(key, str) or not key or self not in self.root.open:
            return
        key = host._text(key, host.NAME_BYTES_MAX)
        if len(attributes) < host.FIELDS_MAX or key in attributes:
            attributes[key] = _value(value)

    def set_attributes(self, attributes):
        for key, value in (attributes or {}).items():
            self.set_attribute(key, value)

    def add_event(self, name, attributes=None, timestamp=None):
        if self not in self.root.open:
            return
        if len(self.events) < host.EVENTS_MAX:
            self.events.append({"time": _time(timestamp), "name": host._text(name, host.NAME_BYTES_MAX),
                                "attributes": _attributes(attributes)})
        else:
            dropped = self.root.call.dropped
            dropped["event"] = dropped.get("event", 0) + 1

    def add_link(self, context, attributes=None):
        if context.is_valid:
            self.add_event("link", _link(context, attributes))

    def update_name(self, name):
        if self in self.root.open:
            self.name = name

    def set_status(self, status, description=None):
        code, description = _status(status, description)
        # Ok is final, and nothing takes a status back.
        if self.status is not _OK and code is not _UNSET and self in self.root.open:
            self.status, self.description = code, description

    def record_exception(self, exception, attributes=None, timestamp=None, escaped=False):
        self.add_event("exception", _exception(exception, attributes, escaped), timestamp)

    def __exit__(self, kind, error, traceback):
        if error is not None:
            self.fail(error, self.records_exception, self.sets_status)
        self.end()

    def fail(self, error, records_exception, sets_status):
        if records_exception:
            self.record_exception(error, escaped=True)
        if sets_status:
            self.set_status(_ERROR, "%s: %s" % (type(error).__name__, host._text(error)))

    def __repr__(self):
        return "<span %r of %r>" % (self.name, self.get_span_context())


def _value(value):
    """An attribute's value as it is now: who has given a list may change it."""
    kind = type(value)
    if kind is tuple or kind is list:
        value = list(value)
    elif kind is dict:
        value = dict(value)
    elif isinstance(value, int) and kind is not bool:
        value = int(value)
    elif isinstance(value, float):
        value = float(value)
    return host._field(value)


def _attributes(attributes):
    fields = {}
    for key, value in (attributes or {}).items():
        if len(fields) >= host.FIELDS_MAX:
            break
        if isinstance(key, str) and key:
            fields[host._text(key, host.NAME_BYTES_MAX)] = _value(value)
    return fields


def _time(given):
    """Nanoseconds since 1970; now, if nothing was given that is a time."""
    try:
        return time.time_ns() if given is None else min(max(int(given), 0), TIME_MAX)
    except (TypeError, ValueError, OverflowError):
        return time.time_ns()


def _status(status, description):
    if isinstance(status, trace.Status):
        return status.status_code, status.description
    return (status, description) if status is _ERROR else (status, None)


def _link(context, attributes):
    """The host's spans have no links: it is told as an event."""
    return {"link.trace_id": trace.format_trace_id(context.trace_id),
            "link.span_id": trace.format_span_id(context.span_id), **(attributes or {})}


def _exception(error, attributes, escaped):
    fields = {"exception.type": host._type_name(type(error)), "exception.message": host._text(error)}
    if isinstance(error, BaseException):
        fields["exception.stacktrace"] = host._traceback(error)
    if escaped:
        fields["exception.escaped"] = True
    fields.update(attributes or {})
    return fields


# --- tracers --------------------------------------------------------------------------------------------------


class TracerProvider(trace.TracerProvider):
    def get_tracer(self, instrumenting_module_name, instrumenting_library_version=None, schema_url=None,
                   attributes=None):
        return Tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)

    def force_flush(self, timeout_millis=30000):
        """What has ended is sent."""
        return True

    def shutdown(self):
        pass


class Tracer(trace.Tracer):
    def __init__(self, name, version=None, schema_url=None, attributes=None):
        self._identity = (name, version, schema_url, attributes)
        self._scope = {}
        if name:
            self._scope["otel.scope.name"] = host._text(name)
        if version:
            self._scope["otel.scope.version"] = host._text(version)
        self._others = None

    def _other(self):
        """The tracer of the provider that the plugin has set after this one was made; None: it has set none."""
        provider = trace._TRACER_PROVIDER
        if provider is _PROVIDER or provider is None:
            return None
        if self._others is None:
            try:
                self._others = provider.get_tracer(*self._identity)
            except TypeError:  # older ones know no attributes
                self._others = provider.get_tracer(*self._identity[:3])
        return self._others

    def start_span(self, name, context=None, kind=trace.SpanKind.INTERNAL, attributes=None, links=None,
                   start_time=None, record_exception=True, set_status_on_exception=True):
        other = self._other()
        if other is not None:
            return other.start_span(name, context, kind, attributes, links, start_time, record_exception,
                                    set_status_on_exception)
        parent = trace.get_current_span(context)
        linked = None
        if isinstance(parent, Place):
            root, parent_id = parent.root, parent.hex
        else:
            # A thread that was given no context, or what a message brought along: the call is what it belongs to.
            root, parent_id = _running, None
            if root is not None and host.worker.speaker() is not root.call:
                root = None
            remote = parent.get_span_context()
            if root is not None and remote.is_valid:
                if remote.trace_id == root.get_span_context().trace_id:
                    parent_id = trace.format_span_id(remote.span_id)
                else:
                    linked = remote
        if root is None or root.closed:
            return trace.NonRecordingSpan(parent.get_span_context())
        # Those that begin first last longest, and the others stand in them.
        if not root.call.reserve("span"):
            return CutSpan(parent if isinstance(parent, Place) else root)
        if not isinstance(kind, trace.SpanKind):
            kind = trace.SpanKind.INTERNAL
        start = _time(start_time)
        span = RecordedSpan(root, parent_id, name, kind, self._scope, record_exception, set_status_on_exception, start)
        root.open[span] = True
        if attributes:
            span.set_attributes(attributes)
        if linked is not None:
            span.add_event("link", _link(linked, None), start)
        for link in links or ():
            if link is not None and link.context.is_valid:
                span.add_event("link", _link(link.context, link.attributes), start)
        return span

    def start_as_current_span(self, name, context=None, kind=trace.SpanKind.INTERNAL, attributes=None, links=None,
                              start_time=None, record_exception=True, set_status_on_exception=True,
                              end_on_exit=True):
        other = self._other()
        if other is not None:
            return other.start_as_current_span(name, context, kind, attributes, links, start_time, record_exception,
                                               set_status_on_exception, end_on_exit)
        span = (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
        return Current(self, span, end_on_exit)


class Current:
    """`with tracer.start_as_current_span(…) as span`, and the decorator."""

    __slots__ = ("_tracer", "_wanted", "_ends", "_span", "_before", "_token")

    def __init__(self, tracer, wanted, ends):
        self._tracer = tracer
        self._wanted = wanted
        self._ends = ends

    def __enter__(self):
        span = self._span = self._tracer.start_span(*self._wanted)
        self._before = contexts.get_current()
        self._token = contexts.attach(trace.set_span_in_context(span, self._before))
        return span

    def __exit__(self, kind, error, traceback):
        span = self._span
        _leave(span, self._token, self._before)
        # Not GeneratorExit and the like: they are no failures.
        if isinstance(error, Exception) and span.is_recording():
            if isinstance(span, RecordedSpan):
                span.fail(error, *self._wanted[6:])
        if self._ends:
            span.end()
        return False

    def __call__(self, function):
        if inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            async def traced(*args, **options):
                with self._again():
                    return await function(*args, **options)
        else:
            @functools.wraps(function)
            def traced(*args, **options):
                with self._again():
                    return function(*args, **options)
        return traced

    def _again(self):
        return self._tracer.start_as_current_span(*self._wanted, self._ends)


_PROVIDER = TracerProvider()


# --- log records ----------------------------------------------------------------------------------------------


class LoggerProvider:
    """Of `opentelemetry._logs`, and of the `_events` that some versions have beside it."""

    def get_logger(self, name, version=None, schema_url=None, attributes=None):
        return Logger(name)

    get_event_logger = get_logger


class Logger:
    def __init__(self, name):
        self._name = host._text(name or "", host.NAME_BYTES_MAX)

    def enabled(self, **_):
        return True

    def emit(self, record=None, *, timestamp=None, observed_timestamp=None, context=None, severity_number=None,
             severity_text=None, body=None, attributes=None, event_name=None, exception=None):
        at = None
        if record is not None:
            timestamp, observed_timestamp = record.timestamp, record.observed_timestamp
            severity_number, severity_text = record.severity_number, record.severity_text
            body, attributes = record.body, record.attributes
            context = getattr(record, "context", None)
            event_name, exception = getattr(record, "event_name", None), getattr(record, "exception", None)
            at = record.span_id if record.trace_id else None
        fields = _attributes(attributes)
        if event_name:
            fields["event.name"] = host._text(event_name)
        if isinstance(exception, BaseException):
            for key, value in _exception(exception, None, False).items():
                fields.setdefault(key, _value(value))
        frame = {"time": _time(timestamp if timestamp else observed_timestamp),
                 "severity": _severity(severity_number, severity_text), "logger": self._name,
                 "body": body if isinstance(body, str) else "" if body is None else host._field(_value(body)),
                 "fields": fields}
        if not isinstance(frame["body"], str):
            frame["body"] = host._encode(frame["body"])
        frame["body"] = host._text(frame["body"])
        place = trace.get_current_span(context)
        if isinstance(place, Place):
            call, span = place.root.call, place.hex
            if call.ended:
                return
        else:
            call, span = host.worker.speaker(), None
        if at and _running is not None and call is _running.call:
            execute = _running.get_span_context()
            if record.trace_id == execute.trace_id:
                span = trace.format_span_id(at) if at != execute.span_id else None
        if span is not None:
            frame["span_id"] = span
        call.emit("log", frame)


def _severity(number, text):
    number = getattr(number, "value", number)
    if isinstance(number, int) and 1 <= number <= 24:
        return ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")[(number - 1) // 4]
    return text if isinstance(text, str) else "INFO"


_LOGGER_PROVIDER = LoggerProvider()


# --- taking part ----------------------------------------------------------------------------------------------


def _offer(module, name, provider):
    """Sets a provider as long as there is none. Not by the API's function: that works once, and the plugin may
    want it for its own."""
    if getattr(module, name) is None:
        setattr(module, name, provider)


def offer_tracer(module):
    _offer(module, "_TRACER_PROVIDER", _PROVIDER)
    host._otel = sys.modules[__name__]
    worker = host.worker
    if worker.current is not worker.idle:
        # Imported in the middle of a call, perhaps of a `ctx.span`.
        begin(worker.current, worker.command)
        steps, step = [], host._open_span.get()
        while step is not None and step._call is worker.current:
            steps.append(step)
            step = step._parent
        for step in reversed(steps):
            step._entered = enter(step)


def offer_logger(module):
    _offer(module, "_LOGGER_PROVIDER", _LOGGER_PROVIDER)


def offer_event_logger(module):
    _offer(module, "_EVENT_LOGGER_PROVIDER", _LOGGER_PROVIDER)


def instrument():
    """Activates the instrumentations of the environment, as `opentelemetry-instrument` does."""
    disabled = {name.strip() for name in os.environ.get(DISABLED, "").split(",")}
    if "*" in disabled:
        return
    from importlib.metadata import entry_points
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

    found = entry_points()
    points = found.select if hasattr(found, "select") else lambda group: found.get(group, ())
    active = set()
    for group in ("opentelemetry_pre_instrument", "opentelemetry_instrumentor", "opentelemetry_post_instrument"):
        # An environment that is found twice names them twice.
        for name, point in {point.name: point for point in points(group=group)}.items():
            if group == "opentelemetry_instrumentor" and name in disabled:
                continue
            try:
                if group == "opentelemetry_instrumentor":
                    _activate(name, point.load(), active)
                else:
                    point.load()()
            except BaseException as error:
                # What is to be instrumented is mostly not installed, and need not be.
                if not isinstance(error, ModuleNotFoundError) or (error.name or "").split(".")[0] in NEEDED:
                    warn("the instrumentation `%s` could not be activated" % name, error)
    _let_the_plugin(BaseInstrumentor, active)


def _activate(name, kind, active):
    instrumentor = kind()
    check = getattr(instrumentor, "_check_dependency_conflicts", None)
    conflict = check() if check is not None else None
    if conflict is not None:
        if getattr(conflict, "found", None) or getattr(conflict, "found_any", None):
            warn("the instrumentation `%s` does not fit: %s" % (name, conflict), None)
        return
    instrumentor.instrument(skip_dep_check=True, **OPTIONS.get(name, {}))
    active.add(kind)


def _let_the_plugin(base, active):
    """A plugin that activates an instrumentation itself, its own way, finds it as if nobody had."""
    instrument = base.instrument

    @functools.wraps(instrument)
    def instrument_again(self, **options):
        if type(self) in active:
            if not options:
                return None
            active.discard(type(self))
            try:
                self.uninstrument()
            except Exception as error:
                warn("%s could not be undone" % type(self).__name__, error)
        return instrument(self, **options)

    base.instrument = instrument_again


def warn(message, error):
    fields = {} if error is None else {key: value for key, value in _exception(error, None, False).items()}
    host.worker.speaker().emit("log", {"time": time.time_ns(), "severity": "WARN", "logger": "spanglass.opentelemetry",
                                       "body": host._text(message if error is None else "%s: %s: %s" % (
                                           message, host._type_name(type(error)), host._text(error))),
                                       "fields": host._fields(fields)})
