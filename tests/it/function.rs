//! Any function as a plugin: what `spanglass run FILE.py:FUNCTION` rests on.

use serde_json::{Value, json};
use spanglass::model::kind::ErrorKind;

use crate::support::{Plugin, require};

#[tokio::test]
async fn text_becomes_what_the_annotations_say() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::function(
        r#"
from __future__ import annotations
import datetime, decimal, enum, pathlib
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union, List, Dict

class Color(enum.Enum):
    RED = "r"
    BLUE = 2

@dataclass
class Point:
    x: int
    y: int

def show(*, i: int = 0, f: float = 0.0, b: bool = False, s: str = "", l: list[int] = None, d: Dict[str, int] = None,
         o: Optional[int] = None, u: Union[int, str] = 0, c: Color = Color.RED, k: Literal["a", 1] = "a", a: Any = 0,
         p: pathlib.Path = None, when: datetime.date = None, m: decimal.Decimal = None, pt: Point = None,
         t: tuple = (), guess=5, plain=None, missing: NoSuchName = None):
    return {key: [type(value).__name__, str(value)] for key, value in locals().items() if value is not None}
"#,
        None,
    );
    let mut worker = plugin.start().await;
    // An annotation that does not exist must not spoil the others.
    for (field, text, expected) in [
        ("s", "5", json!(["str", "5"])),
        ("guess", "7", json!(["int", "7"])),
        ("plain", "7", json!(["str", "7"])),
    ] {
        assert_eq!(worker.output(json!({field: text})).await[field], expected, "{field}");
    }
    let source = std::fs::read_to_string(plugin.folder.join("executor.py")).unwrap();
    let plugin = Plugin::function(&source.replace(", missing: NoSuchName = None", ""), None);
    let mut worker = plugin.start().await;
    for (field, given, expected) in [
        ("i", json!("41"), json!(["int", "41"])),
        ("f", json!("1.5"), json!(["float", "1.5"])),
        ("f", json!(2), json!(["float", "2.0"])),
        ("b", json!("true"), json!(["bool", "True"])),
        ("b", json!("no"), json!(["bool", "False"])),
        ("l", json!("[1, 2]"), json!(["list", "[1, 2]"])),
        ("l", json!(["1", 2]), json!(["list", "[1, 2]"])),
        ("d", json!(r#"{"a": 1}"#), json!(["dict", "{'a': 1}"])),
        ("o", json!("3"), json!(["int", "3"])),
        ("u", json!("x"), json!(["str", "x"])),
        ("u", json!("3"), json!(["int", "3"])),
        ("c", json!("BLUE"), json!(["Color", "Color.BLUE"])),
        ("c", json!("2"), json!(["Color", "Color.BLUE"])),
        ("k", json!("1"), json!(["int", "1"])),
        ("a", json!("1"), json!(["str", "1"])),
        ("t", json!("[1]"), json!(["tuple", "(1,)"])),
        ("when", json!("2026-11-22"), json!(["date", "2026-11-22"])),
        ("m", json!("1.10"), json!(["Decimal", "1.10"])),
        ("pt", json!(r#"{"x": 1, "y": 2}"#), json!(["Point", "Point(x=1, y=2)"])),
    ] {
        assert_eq!(worker.output(json!({field: given})).await[field], expected, "{field}");
    }
    assert_eq!(worker.output(json!({"p": "/tmp"})).await["p"][1], "/tmp");
    assert_eq!(worker.output(json!({"o": "null"})).await.get("o"), None);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_the_callers_mistake() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::function("def greet(name: str, times: int = 1):\n    return name * times\n", None);
    let mut worker = plugin.start().await;
    let signature = "the signature is greet(name: str, times: int = 1)";
    for (input, message) in [
        (json!({"name": "a", "tmes": "2"}), "there is no parameter `tmes`"),
        (json!({"times": "2"}), "`name` is missing"),
        (json!({"name": "a", "times": "two"}), "`times`: 'two' is not int"),
        (json!({"name": "a", "times": [2]}), "`times`: [2] is not int"),
        (json!({"name": 5}), "`name`: 5 is not str"),
    ] {
        let error = worker.error(input).await;
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
        assert!(error.message.starts_with(message) && error.message.ends_with(signature), "{error}");
    }
    assert_eq!(worker.output(json!({"name": "ab", "times": "2"})).await, "abab");
}

#[tokio::test]
async fn the_function_is_found_or_the_candidates_are_named() {
    if !require("python3") {
        return;
    }
    for (source, function, expected) in [
        ("def helper(): pass\ndef main(): return 'main'\n", None, json!("main")),
        ("def invoke(data): return data\ndef main(): return 'main'\n", None, json!({"a": "1"})),
        (
            "from os.path import join\ndef only(a): return 'only ' + a\ndef _private(): pass\n",
            None,
            json!("only 1"),
        ),
        ("def one(): pass\ndef two(a, ctx): return ctx.action\n", Some("two"), json!("invoke")),
        ("def pos(a, /, *rest, **more): return [a, rest, more]\n", None, json!(["1", [], {}])),
        (
            "import asyncio\nasync def run(a: int):\n    await asyncio.sleep(0)\n    return a + 1\n",
            None,
            json!(2),
        ),
        ("def run(**anything): return anything\n", None, json!({"a": "1"})),
        ("def run(payload): return payload['a']\n", None, json!("1")),
        ("def run(box: dict): return box\n", None, json!({"a": "1"})),
        ("def run(a: dict): return a\n", None, Value::Null),
    ] {
        let mut worker = Plugin::function(source, function).start().await;
        let input = if source.contains("def main(): return 'main'") && !source.contains("invoke") {
            json!({})
        } else if source.contains("a: dict") {
            json!({"a": "null"})
        } else {
            json!({"a": "1"})
        };
        if source.contains("a: dict") {
            assert_eq!(worker.error(input).await.kind, ErrorKind::InvalidInput);
        } else {
            assert_eq!(worker.output(input).await, expected, "{source}");
        }
    }
    for (source, function, message) in [
        (
            "def a(): pass\ndef b(): pass\n",
            None,
            "executor.py defines 2 public functions; name one as executor.py:FUNCTION: a, b",
        ),
        ("x = 1\n", None, "executor.py defines no public functions; name one as executor.py:FUNCTION"),
        ("def a(): pass\n", Some("c"), "executor.py has no function `c`; it defines a"),
    ] {
        let plugin = Plugin::function(source, function);
        let error = plugin.try_start().await.err().unwrap();
        // Who names the function has it wrong, not the plugin.
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidInput, message));
    }
    let misspelt = Plugin::function("def area(w, h): return w * h\n", Some("aera"));
    assert_eq!(misspelt.try_start().await.err().unwrap().help.unwrap(), "did you mean `area`?");
}

#[tokio::test]
async fn results_that_json_does_not_know_become_json() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::function(
        r#"
import collections, dataclasses, datetime, decimal, enum, pathlib, uuid

class Color(enum.Enum):
    RED = "r"

@dataclasses.dataclass
class Point:
    x: int
    at: datetime.date

Pair = collections.namedtuple("Pair", "a b")

def every():
    return {
        "dataclass": Point(1, datetime.date(2026, 11, 22)), "tuple": (1, 2), "set": {2, 1}, "enum": Color.RED,
        "time": datetime.datetime(2026, 11, 22, 1, 2, 3), "path": pathlib.PurePosixPath("a/b"),
        "decimal": decimal.Decimal("1.10"), "uuid": uuid.UUID(int=1), "bytes": b"ok", "pair": Pair(1, 2),
        "range": range(3), "keys": {"k": 1}.keys(), "map": map(str, [1]), "deque": collections.deque([1]),
    }

def odd(): return {"here": [object()]}
def nan(): return float("nan")
"#,
        Some("every"),
    );
    let mut worker = plugin.start().await;
    let expected = json!({
        "dataclass": {"x": 1, "at": "2026-11-22"}, "tuple": [1, 2], "set": [1, 2], "enum": "r",
        "time": "2026-11-22T01:02:03", "path": "a/b", "decimal": "1.10",
        "uuid": "00000000-0000-0000-0000-000000000001", "bytes": "ok", "pair": [1, 2], "range": [0, 1, 2],
        "keys": ["k"], "map": ["1"], "deque": [1],
    });
    assert_eq!(worker.output(json!({})).await, expected);
    let source = std::fs::read_to_string(plugin.folder.join("executor.py")).unwrap();
    for (function, message) in [("odd", "a value of type object"), ("nan", "nan")] {
        let error = Plugin::function(&source, Some(function)).start().await.error(json!({})).await;
        assert_eq!(error.kind, ErrorKind::InvalidOutput);
        assert!(error.message.contains(message), "{error}");
    }
}
