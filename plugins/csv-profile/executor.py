"""Profiles the columns of a CSV text.

`invoke` is a generator: each `yield` leaves at once as a chunk, so the reader sees the first column while
the last one is still being counted.
"""

import csv
import io
import math
from collections import Counter
from datetime import date

TOP_VALUES = 3
ROWS_MAX = 200_000


def invoke(input_data, ctx):
    with ctx.span("parse csv"):
        names, rows = parse(input_data["csv"], input_data.get("delimiter"))
        ctx.log.info("parsed", columns=len(names), rows=len(rows))

    for position, name in enumerate(names, start=1):
        with ctx.span("profile column", column=name):
            chunk = profile([row[position - 1] for row in rows])
        yield {"column": name, "position": position, **chunk}

    ctx.metric("cells_profiled", len(names) * len(rows))


def parse(text, delimiter):
    """The header and the rows, each as long as the header. Blank lines do not count."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or guess_delimiter(text))
    names = next(reader, None)
    if not names:
        raise ValueError("the text has no header")

    rows = []
    for row in reader:
        if not row:
            continue
        if len(row) > len(names):
            raise ValueError(f"line {reader.line_num} has {len(row)} fields, the header has {len(names)}")
        if len(rows) == ROWS_MAX:
            raise ValueError(f"more than {ROWS_MAX} rows")
        rows.append(row + [""] * (len(names) - len(row)))
    return names, rows


def guess_delimiter(text):
    """The usual suspect that is most frequent in the header; a comma if there is none."""
    header = text.split("\n", 1)[0]
    return max(",;\t|", key=header.count)


def profile(cells):
    values = [cell.strip() for cell in cells if cell.strip()]
    counts = Counter(values)
    kind, parsed = classify(values)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    result = {
        "type": kind,
        "rows": len(cells),
        "empty": len(cells) - len(values),
        "distinct": len(counts),
        "top": [{"value": value, "count": count} for value, count in ranked[:TOP_VALUES]],
    }
    if kind in ("integer", "number"):
        mean = math.fsum(parsed) / len(parsed)
        variance = math.fsum((value - mean) ** 2 for value in parsed) / len(parsed)
        result.update(min=min(parsed), max=max(parsed), mean=mean, deviation=math.sqrt(variance))
    elif kind in ("date", "text"):
        result.update(min=min(values), max=max(values))
    return result


def classify(values):
    """The narrowest type that fits every value, and the values in it."""
    if not values:
        return "empty", []
    for kind, parse_value in (("integer", int), ("number", finite), ("boolean", boolean), ("date", iso_date)):
        try:
            return kind, [parse_value(value) for value in values]
        except (ValueError, KeyError):
            continue
    return "text", values


def finite(text):
    # float() also takes "nan" and "inf", which JSON cannot carry.
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def boolean(text):
    return {"true": True, "false": False}[text.lower()]


def iso_date(text):
    return date.fromisoformat(text)
