"""Write spanglass plugins as typed functions, and test them without a runner.

    @spanglass.action
    def invoke(who: str, times: int = 1, *, ctx: spanglass.Context) -> Greeting:

Standard library only, Python 3.9 or later, one file: the runner carries it, so that plugins may import it with
nothing installed; in tests and notebooks the same file works by itself. What only tests need is imported where
it is needed: a worker pays for the rest at its start.
"""

import collections.abc
import dataclasses
import enum
import functools
import inspect
import json as _json
import math
import os
import sys
import time
import types
import typing

__version__ = "0.1.0"
__all__ = ["action", "run", "Run", "Context", "InvalidInput", "Unavailable", "ServiceError", "SchemaError",
           "Action", "Response"]

# How far the types of an input may be nested.
DEPTH_MAX = 32

# The worker in which this runs; its errors are the ones that the host understands.
_worker = sys.modules.get("spanglass_worker")


# --- errors ---------------------------------------------------------------------------------------------------


class SchemaError(TypeError):
    """The annotations of a function cannot be described by a JSON Schema; the message says where and why."""


if _worker is not None:
    InvalidInput = _worker.InvalidInput
    Unavailable = _worker.Unavailable
    ServiceError = _worker.ServiceError
else:

    class InvalidInput(Exception):
        """Raise it when the caller gave something that cannot work: the call fails as `invalid_input`."""

    class Unavailable(Exception):
        """Raise it when something the plugin needs is away for now: the call fails as `unavailable`."""

        def __init__(self, message, retry_after=None):
            super().__init__(message)
            self.retry_after = retry_after

    class ServiceError(Exception):
        """A service of the host failed. `kind` is a short word such as `timeout`, `connect` or `conflict`."""

        kind = "failed"


class _Misfit(ValueError):
    """A value is not of its type; `pointer` (RFC 6901) says which one."""

    def __init__(self, message, pointer=""):
        super().__init__(message)
        self.message = message
        self.pointer = pointer

    def below(self, token):
        token = str(token).replace("~", "~0").replace("/", "~1")
        return _Misfit(self.message, "/%s%s" % (token, self.pointer))


# --- types: a schema, a reader and a writer for each ----------------------------------------------------------

_MISSING = dataclasses.MISSING
_NONE = type(None)
_UNION_TYPES = (typing.Union, getattr(types, "UnionType", typing.Union))
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", _NONE: "null"}
# By name, so that a plugin that uses none of them need not import them.
_FORMATS = {
    ("datetime", "datetime"): ("date-time", lambda kind, text: kind.fromisoformat(_with_offset(text))),
    ("datetime", "date"): ("date", lambda kind, text: kind.fromisoformat(text)),
    ("uuid", "UUID"): ("uuid", lambda kind, text: kind(text)),
}
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _with_offset(text):
    # Python below 3.11 does not know the Z.
    return text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text


def _format(kind):
    return _FORMATS.get((getattr(kind, "__module__", None), getattr(kind, "__qualname__", None)))


def _schema(kind, path, depth=0):
    """The JSON Schema of the values that `_read` takes for `kind`."""
    if depth > DEPTH_MAX:
        raise SchemaError("%s: the type contains itself; describe it as `dict`, or by hand in the manifest" % path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    # First: what `Annotated` holds need not have a hash.
    if hasattr(kind, "__metadata__"):
        return {**_schema(arguments[0], path, depth), **_remarks(kind.__metadata__)}
    if kind is typing.Any or kind is object:
        return {}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if _format(kind):
        return {"type": "string", "format": _format(kind)[0]}
    if origin in _UNION_TYPES:
        return _union_schema([_schema(one, path, depth + 1) for one in arguments])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [_json_value(member.value, path) for member in kind]}
    record = _record(kind)
    if record is not None:
        return _object_schema(record, path, depth)
    base = origin or kind
    if base in _LISTS:
        return _list_schema(base, arguments, path, depth)
    if base in _MAPPINGS:
        if arguments and arguments[0] not in (str, typing.Any):
            raise SchemaError("%s: the keys of a mapping are text in JSON, not %s" % (path, _named(arguments[0])))
        inner = _schema(arguments[1], path + "{}", depth + 1) if arguments else {}
        return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
    raise SchemaError("%s: %s has no JSON Schema; use str, int, float, bool, list, dict, Optional, Union, Literal, "
                      "an Enum, a dataclass, a TypedDict, datetime, date or UUID" % (path, _named(kind)))


def _list_schema(base, arguments, path, depth):
    if base is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [_schema(one, "%s[%d]" % (path, at), depth + 1) for at, one in enumerate(arguments)]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    schema = {"type": "array"}
    items = _schema(arguments[0], path + "[]", depth + 1) if arguments else {}
    if items:
        schema["items"] = items
    if base in (set, frozenset, collections.abc.Set):
        schema["uniqueItems"] = True
    return schema


def _union_schema(schemas):
    if all(set(schema) == {"type"} and isinstance(schema["type"], str) for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    if {} in schemas:
        return {}
    return {"anyOf": schemas}


def _remarks(metadata):
    """What `Annotated[T, "a description", {"maxLength": 80}]` adds to the schema of `T`."""
    added = {}
    for remark in metadata:
        if isinstance(remark, str):
            added["description"] = remark
        elif isinstance(remark, dict):
            added.update(remark)
    return added


class _Field(typing.NamedTuple):
    kind: typing.Any
    required: bool
    default: typing.Any = _MISSING
    remarks: typing.Any = ()


class _Record(typing.NamedTuple):
    """A dataclass, a TypedDict or the parameters of a function: named fields."""

    fields: typing.Dict[str, _Field]
    make: typing.Callable
    doc: typing.Optional[str]


def _record(kind):
    if not isinstance(kind, type):
        return None
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        fields = {}
        for field in dataclasses.fields(kind):
            if field.init:
                required = field.default is _MISSING and field.default_factory is _MISSING
                fields[field.name] = _Field(hints[field.name], required, field.default, tuple(
                    [{"description": field.metadata["description"]}] if "description" in field.metadata else []))
        written = kind.__doc__ if not (kind.__doc__ or "").startswith(kind.__name__ + "(") else None
        return _Record(fields, lambda values: kind(**values), _first_paragraph(written))
    if issubclass(kind, dict) and hasattr(kind, "__total__"):
        fields = {}
        for name, hint in _hints(kind).items():
            hint, required = _requirement(hint, name in kind.__required_keys__)
            fields[name] = _Field(hint, required)
        return _Record(fields, dict, _first_paragraph(kind.__doc__))
    return None


def _requirement(hint, required):
    """Takes `Required[…]` and `NotRequired[…]` off, also where text annotations hid them from `TypedDict`."""
    name = getattr(typing.get_origin(hint), "_name", None)
    if name in ("Required", "NotRequired"):
        return typing.get_args(hint)[0], name == "Required"
    return hint, required


@functools.lru_cache(maxsize=256)
def _hints(owner):
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError) as error:
        raise SchemaError("%s: %s; annotations must name what exists at the top of the module"
                          % (_named(owner), error)) from None


def _object_schema(record, path, depth):
    properties = {}
    for name, field in record.fields.items():
        place = "%s.%s" % (path, name)
        schema = {**_schema(field.kind, place, depth + 1), **_remarks(field.remarks)}
        if field.default is not _MISSING and field.default is not None:
            schema["default"] = _json_value(field.default, place)
        properties[name] = schema
    schema = {"type": "object", "properties": properties}
    required = [name for name, field in record.fields.items() if field.required]
    if required:
        schema["required"] = required
    if record.doc:
        schema["description"] = record.doc
    return schema


def _read(value, kind, depth=0):
    """`value`, which came as JSON, as the type `kind`; `_Misfit` if it is not one."""
    if depth > DEPTH_MAX:
        raise _Misfit("it is nested too deeply")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):
        return _read(value, arguments[0], depth)
    if kind is typing.Any or kind is object:
        return value
    if kind in _SCALARS:
        return _read_scalar(value, kind)
    if _format(kind):
        return _read_format(value, kind)
    if origin in _UNION_TYPES:
        return _read_union(value, arguments, depth)
    if origin is typing.Literal:
        return _choose(value, [(choice, choice) for choice in arguments])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _choose(value, [(member.value, member) for member in kind])
    record = _record(kind)
    if record is not None:
        return record.make(_read_fields(value, record, depth))
    base = origin or kind
    if base in _LISTS:
        return _read_list(value, base, arguments, depth)
    if not isinstance(value, dict):
        raise _unlike("an object", value)
    if not arguments:
        return value
    return {key: _inside(key, item, arguments[1], depth) for key, item in value.items()}


def _read_scalar(value, kind):
    # In Python True is an int; in JSON it is not.
    is_bool = isinstance(value, bool)
    if kind is bool and is_bool or kind is _NONE and value is None or kind is str and isinstance(value, str):
        return value
    if kind is int and not is_bool:
        if isinstance(value, int):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    if kind is float and not is_bool and isinstance(value, (int, float)):
        return float(value)
    raise _unlike({str: "text", bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "null"), value)


def _read_format(value, kind):
    name, parse = _format(kind)
    if isinstance(value, str):
        try:
            return parse(kind, value)
        except ValueError:
            pass
    raise _unlike("a " + name, value)


def _read_union(value, kinds, depth):
    misfits = []
    # An int would fit `float` too: the type that it has already comes first.
    for kind in sorted(kinds, key=lambda kind: kind is not type(value)):
        try:
            return _read(value, kind, depth + 1)
        except _Misfit as misfit:
            misfits.append((kind, misfit))
    if value is not None:
        misfits = [(kind, misfit) for kind, misfit in misfits if kind is not _NONE]
    if len(misfits) == 1:
        raise misfits[0][1]
    raise _unlike("one of " + ", ".join(_named(kind) for kind, _ in misfits), value)


def _choose(value, choices):
    for written, chosen in choices:
        if value == written and isinstance(value, bool) == isinstance(written, bool):
            return chosen
    raise _unlike("one of " + ", ".join(_json.dumps(written) for written, _ in choices), value)


def _read_list(value, base, arguments, depth):
    if not isinstance(value, list):
        raise _unlike("a list", value)
    if base is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _Misfit("%d items are wanted, not %d" % (len(arguments), len(value)))
        return tuple(_inside(at, item, kind, depth) for at, (item, kind) in enumerate(zip(value, arguments)))
    if arguments:
        value = [_inside(at, item, arguments[0], depth) for at, item in enumerate(value)]
    if base is collections.abc.Set:
        base = set
    return base(value) if base in (tuple, set, frozenset) else value


def _read_fields(value, record, depth):
    if not isinstance(value, dict):
        raise _unlike("an object", value)
    values = {}
    for name, field in record.fields.items():
        if name in value:
            values[name] = _inside(name, value[name], field.kind, depth)
        elif field.required:
            raise _Misfit("it is missing").below(name)
    return values


def _inside(token, value, kind, depth):
    try:
        return _read(value, kind, depth + 1)
    except _Misfit as misfit:
        raise misfit.below(token) from None


def _unlike(wanted, value):
    found = _json.dumps(value, default=str)
    return _Misfit("%s is wanted, not %s" % (wanted, found if len(found) <= 80 else found[:79] + "…"))


def _named(kind):
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _json_value(value, path="the output"):
    """What a function returns, as JSON: dataclasses, enums and dates become what their schema says."""
    if value is None or isinstance(value, (str, int, float)) and not isinstance(value, enum.Enum):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _json_value(getattr(value, field.name), "%s.%s" % (path, field.name))
                for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return _json_value(value.value, path)
    if _format(type(value)):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, dict):
        return {key: _json_value(item, "%s.%s" % (path, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item, "%s[%d]" % (path, at)) for at, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [_json_value(item, path + "[]") for item in sorted(value, key=repr)]
    # The worker names what cannot be JSON, and says what to return instead.
    return value


def _first_paragraph(doc):
    if not doc:
        return None
    paragraph = inspect.cleandoc(doc).split("\n\n")[0]
    return " ".join(paragraph.split()) or None


# --- the decorator --------------------------------------------------------------------------------------------


class Action:
    """What a decorated function says about itself; the function has it as `spanglass_action`."""

    def __init__(self, function):
        self.function = function
        self.name = function.__name__
        self.description = _first_paragraph(function.__doc__)
        signature = inspect.signature(function)
        hints = _hints(function)
        self.takes_context = "ctx" in signature.parameters
        own = [p for p in signature.parameters.values() if p.name != "ctx"]
        for parameter in own:
            self._check(parameter, hints)
        if len(own) == 1 and _record(hints[own[0].name]) is not None:
            self._whole = own[0].name
            self._record = _record(hints[own[0].name])
        else:
            self._whole = None
            self._record = _Record(
                {p.name: _Field(hints[p.name], p.default is p.empty, _MISSING if p.default is p.empty else p.default)
                 for p in own}, dict, None)
        self.input_schema = _object_schema(self._record, "input", 0)
        self.output_schema = self._output(hints.get("return", typing.Any))

    def _check(self, parameter, hints):
        where = "%s: the parameter `%s`" % (self.name, parameter.name)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SchemaError("%s stands for any number of values; name each field" % where)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise SchemaError("%s has no name for callers; take the `/` away" % where)
        if parameter.name not in hints:
            raise SchemaError("%s has no type; write `%s: str` or another" % (where, parameter.name))

    @staticmethod
    def _output(kind):
        arguments = typing.get_args(kind)
        chunks = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator,
                  collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator)
        if typing.get_origin(kind) in chunks and arguments:
            kind = arguments[0]
        return _schema(kind, "output")

    def call(self, input_data, ctx):
        """Reads the input, calls the function and makes JSON of what it returns."""
        try:
            values = _read_fields(input_data, self._record, 0)
        except _Misfit as misfit:
            raise InvalidInput("%s: %s" % (misfit.pointer or "the input", misfit.message)) from None
        if self._whole is not None:
            values = {self._whole: self._record.make(values)}
        if self.takes_context:
            values["ctx"] = ctx
        return _settled(self.function(**values))

    def shorthand(self):
        """`input` and `output` (or `output_schema`) as a manifest has them."""
        document = {"input": _shorthand(self.input_schema)}
        if self.output_schema.get("type") == "object" and self.output_schema.get("properties"):
            document["output"] = _shorthand(self.output_schema)
        elif self.output_schema:
            document["output_schema"] = self.output_schema
        return document


def _settled(result):
    if inspect.isawaitable(result):
        return _awaited(result)
    if inspect.isasyncgen(result):
        return _async_chunks(result)
    if inspect.isgenerator(result):
        return _chunks(result)
    return _json_value(result)


async def _awaited(result):
    return _settled(await result)


def _chunks(parts):
    # Closed with us, so that the function's `finally` runs when nobody wants more.
    try:
        for part in parts:
            yield _json_value(part)
    finally:
        parts.close()


async def _async_chunks(parts):
    try:
        async for part in parts:
            yield _json_value(part)
    finally:
        await parts.aclose()


def action(function):
    """Makes an entry point of a typed function.

    Its parameters are the fields of the input; a single parameter that is a dataclass or a TypedDict is the whole
    input; `ctx` is the context. What comes does fit the types, or the call fails as `invalid_input`.
    """
    if not callable(function):
        raise TypeError("write `@spanglass.action` above a function, without arguments")
    described = Action(function)

    # The host calls entry points in this form. Not `functools.wraps`: the form is another.
    def entry_point(input_data, ctx=None):
        return described.call(input_data, ctx)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(entry_point, name, getattr(function, name))
    entry_point.spanglass_action = described
    return entry_point


def _shorthand(schema):
    required = schema.get("required", [])
    fields = {}
    for name, field in schema.get("properties", {}).items():
        if set(field) == {"type"} and isinstance(field["type"], str) and field["type"] != "null":
            fields[name] = field["type"]
        else:
            fields[name] = dict(field)
        if name not in required:
            if isinstance(fields[name], str):
                fields[name] = {"type": fields[name]}
            fields[name]["optional"] = True
    return fields


# --- running a function in a test -----------------------------------------------------------------------------


class Context:
    """What a plugin may know and say during a call: the type of `ctx`.

    In the runner the host provides it; `run` provides one that records.
    """

    def __init__(self, record, services, config, secrets, action_name, deadline):
        self.config = config
        self.secrets = secrets
        self.services = services
        self.action = action_name
        self.attempt = 1
        self.invocation_id = "00000000-0000-7000-8000-" + os.urandom(6).hex()
        self.traceparent = "00-%s-%s-01" % (os.urandom(16).hex(), os.urandom(8).hex())
        self.tracestate = self.baggage = None
        self.log = _Log(record)
        self._record = record
        self._ends_at = None if deadline is None else time.monotonic() + deadline

    @property
    def deadline(self):
        """Seconds left until the host ends the call."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    def remaining(self):
        return self.deadline

    def span(self, name, /, *, client=False, **attributes):
        return _Span(self._record, name, attributes)

    def metric(self, name, value, /, **attributes):
        value = float(value)
        if not math.isfinite(value):
            raise ValueError("metric %s: %r is not a finite number" % (name, value))
        self._record.metrics.append({"name": name, "value": value, "attributes": attributes})

    class errors:
        InvalidInput = InvalidInput
        Unavailable = Unavailable
        ServiceError = ServiceError


class _Log:
    def __init__(self, record):
        self._record = record

    def _write(self, severity, message, fields):
        self._record.logs.append({"severity": severity, "body": str(message), "fields": fields})

    def __call__(self, message, /, **fields):
        self._write("INFO", message, fields)

    info = __call__

    def debug(self, message, /, **fields):
        self._write("DEBUG", message, fields)

    def warning(self, message, /, **fields):
        self._write("WARN", message, fields)

    warn = warning

    def error(self, message, /, **fields):
        self._write("ERROR", message, fields)

    def critical(self, message, /, **fields):
        self._write("FATAL", message, fields)

    def exception(self, message, /, **fields):
        error = sys.exc_info()[1]
        if error is not None:
            fields = {"exception.type": type(error).__name__, "exception.message": str(error), **fields}
        self._write("ERROR", message, fields)


class _Span:
    def __init__(self, record, name, attributes):
        self.name = name
        self._record = record
        self._seen = {"name": name, "parent": None, "attributes": attributes, "events": [], "error": None}

    def set(self, **attributes):
        self._seen["attributes"].update(attributes)

    def set_attribute(self, key, value):
        self._seen["attributes"][key] = value

    def event(self, name, /, **attributes):
        self._seen["events"].append({"name": name, "attributes": attributes})

    add_event = event

    def set_error(self, message):
        self._seen["error"] = str(message) or "error"

    def __enter__(self):
        self._seen["parent"] = self._record.open[-1] if self._record.open else None
        self._record.open.append(self.name)
        self._record.spans.append(self._seen)
        return self

    def __exit__(self, kind, error, traceback):
        self._record.open.pop()
        if error is not None:
            self._seen["error"] = "%s: %s" % (kind.__name__, error)
        return False

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, traceback):
        return self.__exit__(kind, error, traceback)


class Response:
    """What `ctx.services.http` returns."""

    def __init__(self, status=200, headers=None, text=""):
        self.status = self.status_code = status
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        self.text = text

    @property
    def ok(self):
        return self.status < 400

    def json(self):
        return _json.loads(self.text)

    def raise_for_status(self):
        if not self.ok:
            raise ServiceError("HTTP status %s" % self.status)


def _failed(kind, message):
    error = ServiceError(message)
    error.kind = kind
    return error


class _Http:
    """Answers from stubs of the manifest's form: `{method?, url, status?, headers?, body?}`."""

    def __init__(self, stubs, requests):
        self._stubs = stubs
        self._requests = requests

    def request(self, method, url, *, headers=None, params=None, json=None, data=None, timeout=None):
        from urllib.parse import urlencode

        if params:
            url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
        if json is not None:
            data = _json.dumps(json, allow_nan=False)
        self._requests.append({"method": method.upper(), "url": url, "headers": dict(headers or {}), "body": data})
        for stub in self._stubs:
            if stub["url"] == url and stub.get("method", method).upper() == method.upper():
                body = stub.get("body", "")
                text = body if isinstance(body, str) else _json.dumps(body)
                return Response(stub.get("status", 200), stub.get("headers"), text)
        raise _failed("no_stub", "no stub answers %s %s" % (method.upper(), url))

    async def arequest(self, method, url, **options):
        return self.request(method, url, **options)


def _verb(method, awaited):
    def verb(self, url, **options):
        return (self.arequest if awaited else self.request)(method, url, **options)

    return verb


for _method in ("get", "post", "put", "patch", "delete", "head"):
    setattr(_Http, _method, _verb(_method.upper(), False))
    setattr(_Http, "a" + _method, _verb(_method.upper(), True))


class _Kv:
    """Key-value in memory. Values are kept as JSON, as the host does."""

    def __init__(self, values):
        self._values = {key: (_json.dumps(value, allow_nan=False), 1) for key, value in values.items()}

    def get_with_revision(self, key, default=None):
        text, revision = self._values.get(key, (None, 0))
        return (default if text is None else _json.loads(text)), revision

    def get(self, key, default=None):
        return self.get_with_revision(key, default)[0]

    def set(self, key, value, ttl=None, if_revision=None):
        revision = self._values.get(key, (None, 0))[1]
        if if_revision is not None and if_revision != revision:
            raise _failed("conflict", "the revision is %d, not %d" % (revision, if_revision))
        self._values[key] = (_json.dumps(value, allow_nan=False), revision + 1)
        return revision + 1

    def increment(self, key, by=1):
        value = self.get(key, 0) + by
        self.set(key, value)
        return value

    def delete(self, key):
        return self._values.pop(key, None) is not None

    def keys(self, prefix=""):
        return sorted(key for key in self._values if key.startswith(prefix))


class _Services:
    Error = ServiceError

    def __init__(self, http, requests, kv, plugins):
        self.http = _Http(http, requests)
        self.kv = _Kv(kv)
        self._plugins = plugins

    def call(self, plugin, input=None, action=None, timeout=None):
        if plugin not in self._plugins:
            raise _failed("no_stub", "no fake answers calls of %s" % plugin)
        answer = self._plugins[plugin]
        return answer(input or {}) if callable(answer) else answer

    async def acall(self, plugin, input=None, action=None, timeout=None):
        return self.call(plugin, input, action, timeout)


@dataclasses.dataclass
class Run:
    """What came of one call in a test."""

    result: typing.Any = None
    """What the caller gets: JSON, a list of the chunks if the function streams."""
    spans: list = dataclasses.field(default_factory=list)
    """`{name, parent, attributes, events, error}` in the order of their begin."""
    logs: list = dataclasses.field(default_factory=list)
    """`{severity, body, fields}`, of `ctx.log` and of `logging`."""
    metrics: list = dataclasses.field(default_factory=list)
    """`{name, value, attributes}`."""
    requests: list = dataclasses.field(default_factory=list)
    """What was asked of `ctx.services.http`: `{method, url, headers, body}`."""
    open: list = dataclasses.field(default_factory=list, repr=False)

    def span(self, name):
        """The first span of this name."""
        for span in self.spans:
            if span["name"] == name:
                return span
        raise AssertionError("there is no span %r; there are %s" % (name, [span["name"] for span in self.spans]))


def _logging_to(record):
    """A handler for the root logger: the host has the records of `logging` too."""
    import logging

    levels = ((50, "FATAL"), (40, "ERROR"), (30, "WARN"), (20, "INFO"), (10, "DEBUG"))

    class Recording(logging.Handler):
        def emit(self, seen):
            severity = next((name for level, name in levels if seen.levelno >= level), "TRACE")
            record.logs.append({"severity": severity, "body": seen.getMessage(), "fields": {}})

    # As in the runner, which keeps what is INFO or worse.
    return logging.getLogger(), Recording(logging.INFO)


def run(function, input=None, /, *, config=None, secrets=None, http=(), kv=None, plugins=None, deadline=30.0,
        context=None, **fields):
    """Calls an entry point as the host does, with a context that records; what it raises comes through.

    `run(invoke, who="Ada")` is `run(invoke, {"who": "Ada"})`. `http` takes stubs as a manifest's examples do, `kv`
    what is there before, `plugins` an answer or a function for each plugin that is called. `context` may be filled
    with anything that `ctx` should have besides.
    """
    record = Run()
    services = _Services(list(http), record.requests, kv or {}, plugins or {})
    described = getattr(function, "spanglass_action", None)
    name = getattr(function, "__name__", "invoke")
    ctx = Context(record, services, dict(config or {}), dict(secrets or {}), name, deadline)
    for key, value in (context or {}).items():
        setattr(ctx, key, value)
    # Through JSON, as on the way from a caller.
    data = _json.loads(_json.dumps({**(input or {}), **fields}, allow_nan=False))
    root, handler = _logging_to(record)
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or handler.level, handler.level))
    try:
        result = described.call(data, ctx) if described else _plain_call(function, data, ctx)
        result = _collected(result)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    try:
        record.result = _json.loads(_json.dumps(result, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError("the output is not JSON: %s" % error) from None
    return record


def _plain_call(function, data, ctx):
    parameters = list(inspect.signature(function).parameters.values())
    if "ctx" in [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]:
        return function(data, ctx=ctx)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_context = len(positional) >= 2 and (positional[1].name in ("ctx", "context")
                                              or positional[1].default is positional[1].empty)
    return function(data, ctx) if takes_context else function(data)


def _collected(result):
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        import asyncio

        if inspect.isasyncgen(result):
            return asyncio.run(_all_chunks(result))
        return _collected(asyncio.run(_awaiting(result)))
    return list(result) if inspect.isgenerator(result) else result


async def _awaiting(result):
    return await result


async def _all_chunks(parts):
    return [part async for part in parts]


# --- `python -m spanglass schema FILE.py:FUNCTION` ------------------------------------------------------------


def _load(target):
    from importlib.util import module_from_spec, spec_from_file_location

    path, _, name = target.partition(":")
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if spec is None or not os.path.isfile(path):
        raise SystemExit("error: there is no Python file %s" % path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(getattr(module, name or "invoke", None), "spanglass_action", None)
    if found is None:
        raise SystemExit("error: %s has no function `%s` with @spanglass.action" % (path, name or "invoke"))
    return found


def _main(arguments):
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"]
    if len(arguments) != 2 or arguments[0] != "schema":
        sys.stderr.write("usage: python -m spanglass schema [--json] FILE.py[:FUNCTION]\n")
        return 2
    try:
        found = _load(arguments[1])
    except SchemaError as error:
        sys.stderr.write("error: %s\n" % error)
        return 3
    if as_json:
        print(_json.dumps({"description": found.description, "input_schema": found.input_schema,
                           "output_schema": found.output_schema}))
        return 0
    # JSON on one line is YAML: each can be copied into a manifest.
    for section, fields in found.shorthand().items():
        if section == "output_schema" or not fields:
            print("%s: %s" % (section, _json.dumps(fields)))
            continue
        print("%s:" % section)
        for name, field in fields.items():
            print("  %s: %s" % (name, field if isinstance(field, str) else _json.dumps(field)))
    return 0
