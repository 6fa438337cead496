"""Run them with `python -m unittest discover -s tests`; nothing needs to be installed."""

import contextlib
import datetime
import enum
import io
import logging
import os
import sys
import tempfile
import typing
import unittest
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Literal, Optional, Set, Tuple, Union

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import spanglass


class Channel(enum.Enum):
    WEB = "web"
    SHOP = "shop"


@dataclass
class Item:
    name: str
    price: float = 0.0


@dataclass
class Order:
    """What somebody buys.

    More than the first paragraph is for readers of the code.
    """

    items: List[Item]
    channel: Channel = Channel.WEB
    note: Optional[str] = field(default=None, metadata={"description": "for the packer"})
    tags: List[str] = field(default_factory=list)


class Limits(typing.TypedDict, total=False):
    low: int
    high: int


@dataclass
class Node:
    children: "List[Node]"


def schema_of(kind):
    def function(value):
        pass

    function.__annotations__ = {"value": kind}
    return spanglass.action(function).spanglass_action.input_schema["properties"]["value"]


class Schemas(unittest.TestCase):
    def test_each_type_has_its_schema(self):
        for kind, schema in [
            (str, {"type": "string"}),
            (int, {"type": "integer"}),
            (float, {"type": "number"}),
            (bool, {"type": "boolean"}),
            (Any, {}),
            (list, {"type": "array"}),
            (List[int], {"type": "array", "items": {"type": "integer"}}),
            (Set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
            (Tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
            (Tuple[int, str], {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
                               "minItems": 2, "maxItems": 2}),
            (dict, {"type": "object"}),
            (Dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
            (Optional[int], {"type": ["integer", "null"]}),
            (Union[int, List[int]], {"anyOf": [{"type": "integer"},
                                               {"type": "array", "items": {"type": "integer"}}]}),
            (Literal["a", 1], {"enum": ["a", 1]}),
            (Channel, {"enum": ["web", "shop"]}),
            (datetime.datetime, {"type": "string", "format": "date-time"}),
            (datetime.date, {"type": "string", "format": "date"}),
            (uuid.UUID, {"type": "string", "format": "uuid"}),
            (List[Limits], {"type": "array", "items": {
                "type": "object", "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}}}}),
            (typing.Annotated[str, "a name", {"maxLength": 3}],
             {"type": "string", "description": "a name", "maxLength": 3}),
        ]:
            with self.subTest(kind=kind):
                self.assertEqual(schema_of(kind), schema)

    def test_a_dataclass_is_the_whole_input(self):
        @spanglass.action
        def invoke(order: Order) -> Item:
            """Sells."""

        described = invoke.spanglass_action
        self.assertEqual(described.description, "Sells.")
        self.assertEqual(described.input_schema, {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "price": {"type": "number", "default": 0.0}}}},
                "channel": {"enum": ["web", "shop"], "default": "web"},
                "note": {"type": ["string", "null"], "description": "for the packer"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["items"],
            "description": "What somebody buys.",
        })
        self.assertEqual(described.output_schema["required"], ["name"])

    def test_text_annotations_are_read(self):
        source = ("from __future__ import annotations\nimport spanglass\n"
                  "@spanglass.action\ndef invoke(n: int | None = None, *, ctx: spanglass.Context) -> dict[str, int]: ...\n")
        space = {"__name__": "made_up"}
        if sys.version_info < (3, 10):
            source = source.replace("int | None", "object")
        exec(source, space)
        described = space["invoke"].spanglass_action
        self.assertEqual(list(described.input_schema["properties"]), ["n"])
        self.assertTrue(described.takes_context)
        self.assertEqual(described.output_schema, {"type": "object", "additionalProperties": {"type": "integer"}})

    def test_the_items_of_a_stream_are_the_output(self):
        @spanglass.action
        def invoke() -> Iterator[Item]:
            yield Item("a")

        self.assertEqual(invoke.spanglass_action.output_schema["required"], ["name"])

    def test_what_has_no_schema_is_named(self):
        def variable(*values: int): ...
        def keywords(**values: int): ...
        def untyped(value): ...
        def bytes_(value: bytes): ...
        def keys(value: Dict[int, str]): ...
        def deep(value: List[Dict[str, complex]]): ...
        def recursive(node: Node): ...
        def unknown(value: "Nowhere"): ...
        def senseless(value: "1 | 2 + None"): ...

        for function, said in [
            (variable, "the parameter `values` stands for any number"),
            (keywords, "the parameter `values` stands for any number"),
            (untyped, "write `value: str`"),
            (bytes_, "input.value: bytes has no JSON Schema; use str"),
            (keys, "input.value: the keys of a mapping are text in JSON, not int"),
            (deep, "input.value[]{}: complex has no JSON Schema"),
            (recursive, "the type contains itself"),
            (unknown, "'Nowhere' is not defined"),
            (senseless, "annotations must name what exists"),
        ]:
            with self.subTest(function=function.__name__), self.assertRaises(spanglass.SchemaError) as raised:
                spanglass.action(function)
            self.assertIn(said, str(raised.exception))

    def test_the_module_prints_what_a_manifest_wants(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "executor.py")
            with open(path, "w") as file:
                file.write("import spanglass\n@spanglass.action\ndef invoke(who: str, n: int = 1) -> list: ...\n")
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(spanglass._main(["schema", path + ":invoke"]), 0)
            self.assertEqual(out.getvalue(), 'input:\n  who: string\n'
                             '  n: {"type": "integer", "default": 1, "optional": true}\n'
                             'output_schema: {"type": "array"}\n')
            with self.assertRaisesRegex(SystemExit, "no function `other` with @spanglass.action"):
                spanglass._main(["schema", path + ":other"])


class Inputs(unittest.TestCase):
    def take(self, kind, value):
        def function(value):
            seen.append(value)

        seen = []
        function.__annotations__ = {"value": kind}
        spanglass.run(spanglass.action(function), {"value": value})
        return seen[0]

    def test_values_become_what_the_types_say(self):
        for kind, value, wanted in [
            (int, 3.0, 3),
            (float, 3, 3.0),
            (Optional[int], None, None),
            (Union[float, int], 3, 3),
            (Set[int], [1, 2], {1, 2}),
            (Tuple[int, str], [1, "a"], (1, "a")),
            (Channel, "shop", Channel.SHOP),
            (Order, {"items": [{"name": "tea"}]}, Order([Item("tea")])),
            (datetime.datetime, "2026-01-31T12:00:00Z",
             datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)),
            (uuid.UUID, "00000000-0000-7000-8000-000000000001", uuid.UUID(int=0x7000_8000_000000000001)),
        ]:
            with self.subTest(kind=kind):
                if kind is Order:  # not alone, or its fields were the input
                    kind = Optional[Order]
                got = self.take(kind, value)
                self.assertEqual((got, type(got)), (wanted, type(wanted)))

    def test_misfits_are_named_by_their_place(self):
        for kind, value, said in [
            (int, "3", '/value: a whole number is wanted, not "3"'),
            (int, True, "/value: a whole number is wanted, not true"),
            (bool, 1, "/value: true or false is wanted, not 1"),
            (float, None, "/value: a number is wanted, not null"),
            (Literal[1], True, "/value: one of 1 is wanted, not true"),
            (Optional[int], "x", '/value: a whole number is wanted, not "x"'),
            (Union[int, List[int]], "x", '/value: one of int, List[int] is wanted, not "x"'),
            (Tuple[int, int], [1], "/value: 2 items are wanted, not 1"),
            (Dict[str, List[int]], {"a/b": [1, "2"]}, '/value/a~1b/1: a whole number is wanted, not "2"'),
            (datetime.date, "soon", '/value: a date is wanted, not "soon"'),
            (List[Item], [{"price": 1}], "/value/0/name: it is missing"),
            (List[Item], [3], "/value/0: an object is wanted, not 3"),
            (Channel, "mail", '/value: one of "web", "shop" is wanted, not "mail"'),
        ]:
            with self.subTest(kind=kind, value=value), self.assertRaises(spanglass.InvalidInput) as raised:
                self.take(kind, value)
            self.assertEqual(str(raised.exception), said)

    def test_more_fields_than_asked_for_are_allowed_and_defaults_hold(self):
        @spanglass.action
        def invoke(n: int = 7) -> int:
            return n

        self.assertEqual(spanglass.run(invoke, {"more": 1}).result, 7)


class Runs(unittest.TestCase):
    def test_everything_a_call_does_is_seen(self):
        @spanglass.action
        def invoke(url: str, *, ctx: spanglass.Context) -> Item:
            with ctx.span("outer", a=1) as outer:
                with ctx.span("inner"):
                    answer = ctx.services.http.get(url, params={"q": "x"})
                outer.event("asked", status=answer.status)
            ctx.log.warning("asked", config=ctx.config["level"])
            logging.getLogger("lib").info("said %d", 1)
            ctx.metric("asks", 1)
            seen = ctx.services.kv.get("seen", 0) + ctx.services.call("core", {"n": 1})["n"]
            ctx.services.kv.set("seen", seen)
            return Item(answer.json()["name"], float(ctx.services.kv.get("seen")))

        stubs = [{"url": "http://shop/?q=y"}, {"method": "POST", "url": "http://shop/?q=x"},
                 {"method": "GET", "url": "http://shop/?q=x", "body": {"name": "tea"}}]
        before = (list(logging.root.handlers), logging.root.level)
        ran = spanglass.run(invoke, url="http://shop/", config={"level": "info"}, http=stubs, kv={"seen": 2},
                            plugins={"core": lambda data: {"n": data["n"] + 1}})
        self.assertEqual(ran.result, {"name": "tea", "price": 4.0})
        self.assertEqual([(span["name"], span["parent"]) for span in ran.spans], [("outer", None), ("inner", "outer")])
        self.assertEqual(ran.span("outer")["events"], [{"name": "asked", "attributes": {"status": 200}}])
        self.assertEqual([(log["severity"], log["body"]) for log in ran.logs], [("WARN", "asked"), ("INFO", "said 1")])
        self.assertEqual((logging.root.handlers, logging.root.level), before)
        self.assertEqual(ran.metrics[0]["value"], 1.0)
        self.assertEqual(ran.requests[0]["url"], "http://shop/?q=x")

    def test_services_without_an_answer_fail_as_in_the_runner(self):
        def asks(input_data, ctx):
            getattr(ctx.services, input_data["what"])
            if input_data["what"] == "http":
                return ctx.services.http.post("http://nowhere/")
            return ctx.services.call("core", {})

        for what in ("http", "call"):
            with self.subTest(what=what), self.assertRaises(spanglass.ServiceError) as raised:
                spanglass.run(asks, what=what)
            self.assertEqual(raised.exception.kind, "no_stub")

    def test_a_revision_that_is_gone_is_a_conflict(self):
        def invoke(input_data, ctx):
            kv = ctx.services.kv
            _, revision = kv.get_with_revision("a")
            kv.set("a", [1], if_revision=revision)
            kv.get("a").append(2)
            try:
                kv.set("a", 3, if_revision=revision)
            except spanglass.ServiceError as error:
                return [error.kind, kv.get("a"), kv.increment("n"), kv.keys("n"), kv.delete("n"), kv.delete("n")]

        self.assertEqual(spanglass.run(invoke).result, ["conflict", [1], 1, ["n"], True, False])

    def test_plain_async_and_streaming_functions(self):
        async def awaited(input_data):
            return input_data

        @spanglass.action
        async def typed(n: int) -> int:
            return n

        def plain(input_data, ctx):
            return ctx.action

        @spanglass.action
        def chunks(n: int) -> Iterator[Item]:
            for at in range(n):
                yield Item(str(at))

        @spanglass.action
        async def async_chunks(n: int):
            for at in range(n):
                yield at

        self.assertEqual(spanglass.run(awaited, n=1).result, {"n": 1})
        self.assertEqual(spanglass.run(typed, n=1).result, 1)
        self.assertEqual(spanglass.run(plain).result, "plain")
        self.assertEqual(spanglass.run(chunks, n=2).result, [{"name": "0", "price": 0.0}, {"name": "1", "price": 0.0}])
        self.assertEqual(spanglass.run(async_chunks, n=2).result, [0, 1])

    def test_what_a_function_raises_comes_through_with_its_span_failed(self):
        def invoke(input_data, ctx):
            with ctx.span("step"):
                seen.append(ctx)
                raise KeyError("x")

        seen = []
        with self.assertRaises(KeyError):
            spanglass.run(invoke)
        self.assertEqual(seen[0]._record.span("step")["error"], "KeyError: 'x'")

    def test_an_output_that_is_not_json_is_refused(self):
        for value in (float("nan"), object(), b"x"):
            with self.subTest(value=value), self.assertRaisesRegex(TypeError, "the output is not JSON"):
                spanglass.run(lambda input_data: value)


if __name__ == "__main__":
    unittest.main()
