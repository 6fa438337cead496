"""One function per kind of panel. Each takes what a reader wants to know first: title, what it shows, what to do
when it looks bad. `Panel.width` is in the 24 columns of Grafana's grid; `model.py` gives panels their place."""

import links

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
TEMPO = {"type": "tempo", "uid": "tempo"}
LOKI = {"type": "loki", "uid": "loki"}

OUTCOME_COLORS = {"replied": "green", "failed": "red", "dropped": "yellow"}
CIRCUIT = {0: ("closed", "green"), 1: ("half-open", "yellow"), 2: ("open", "red")}
GOOD_BAD = {1: ("yes", "green"), 0: ("no", "red")}


class Panel:
    """The JSON of a panel without id and place, and the width that it wants."""

    def __init__(self, width, json):
        self.width = width
        self.json = json


# --- queries


def query(expr, legend="", *, exemplars=False, empty=None):
    """PromQL over the time range. `empty`: why it has no data as long as all is well."""
    return _prometheus(expr, empty, legendFormat=legend or "__auto", range=True, instant=False, exemplar=exemplars)


def instant(expr, legend="", *, empty=None):
    """PromQL at the end of the time range."""
    return _prometheus(expr, empty, legendFormat=legend or "__auto", range=False, instant=True, exemplar=False)


def column(expr, *, empty=None):
    """A column of a table: the labels of all its columns are the rows' names."""
    return _prometheus(expr, empty, format="table", legendFormat="", range=False, instant=True, exemplar=False)


def _prometheus(expr, empty, **rest):
    return {"datasource": PROMETHEUS, "editorMode": "code", "expr": expr, "empty": empty, **rest}


def traceql(search, *, limit=20):
    """A search in Tempo; a bare trace id gets that trace."""
    return {"datasource": TEMPO, "queryType": "traceql", "query": search, "limit": limit, "tableType": "traces", "filters": []}


def traceql_metrics(search):
    return {"datasource": TEMPO, "queryType": "traceql", "query": search, "metricsQueryType": "range", "filters": []}


def logql(expr, *, lines=200):
    return {"datasource": LOKI, "editorMode": "code", "expr": expr, "queryType": "range", "maxLines": lines}


def logql_metrics(expr, legend):
    return {"datasource": LOKI, "editorMode": "code", "expr": expr, "queryType": "range", "legendFormat": legend}


# --- panels


def timeseries(
    title, shows, act, queries, unit, *,
    width=8, stack=False, bars=False, lowest=0, highest=None, limits=(), colors=None, data_links=(), runbook=None, log=False,
):  # fmt: skip
    """`limits`: values worth a line, (value, color)."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 25 if stack else 8,
        "lineWidth": 0 if bars else 1,
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom, "unit": unit, "links": list(data_links)}
    defaults["thresholds"] = _thresholds("transparent" if limits else "green", limits)
    if lowest is not None and not log:
        defaults["min"] = lowest
    if highest is not None:
        defaults["max"] = highest
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = [_override(name, color={"fixedColor": color, "mode": "fixed"}) for name, color in (colors or {}).items()]
    return _panel("timeseries", width, title, shows, act, queries, defaults, overrides, options, runbook)


def stat(title, shows, act, expression, unit, *, width=4, steps=(), base="green", none="no data", decimals=None, runbook=None):
    """One number. `steps`: from which value on it has which color; `base` below the first."""
    color = {"mode": "thresholds"} if steps else {"mode": "fixed", "fixedColor": "text"}
    defaults = {"color": color, "noValue": none, "thresholds": _thresholds(base, steps), "unit": unit, "links": []}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    }
    return _panel("stat", width, title, shows, act, [expression], defaults, [], options, runbook)


def heatmap(title, shows, act, series, unit="s", *, width=12, runbook=None):
    """Of the buckets of a histogram; its exemplars are dots that lead to their traces."""
    target = query(series, "{{le}}", exemplars=True) | {"format": "heatmap"}
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "ops"},
        "color": {
            "exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": False, "scale": "exponential",
            "scheme": "Oranges", "steps": 64,
        },
        "exemplars": {"color": "rgba(80,160,255,0.9)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }  # fmt: skip
    defaults = {"unit": unit, "custom": {"scaleDistribution": {"type": "linear"}}}
    return _panel("heatmap", width, title, shows, act, [target], defaults, [], options, runbook)


def timeline(title, shows, act, queries, values, *, width=24, data_links=(), runbook=None):
    """States over time. `values`: (text, color) of each number."""
    defaults = {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 75, "lineWidth": 0},
        "links": list(data_links),
        "mappings": _mappings(values),
        "thresholds": _thresholds("text", ()),
        "unit": "none",
    }
    options = {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", width, title, shows, act, queries, defaults, [], options, runbook)


def table(title, shows, act, columns, *, width=24, none="no data", sort=None, runbook=None):
    """`columns`: `name: dict(query=…, unit=…, steps=…, base=…, values=…, link=…)`; one without a query is a label."""
    queries, renamed, overrides = [], {}, []
    for name, given in columns.items():
        if "query" in given:
            renamed[f"Value #{_ref(len(queries))}"] = name
            queries.append(given["query"])
        overrides.append(_column(name, given))
    # A single query's value has no letter.
    if len(queries) == 1:
        renamed = {"Value": name for name in renamed.values()}
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {_before(name, renamed): index for index, name in enumerate(columns)},
        "renameByName": renamed,
    }
    defaults = {
        "color": {"mode": "thresholds"},
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False},
        "noValue": none,
        "thresholds": _thresholds("text", ()),
        "unit": "none",
    }
    options = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [{"desc": True, "displayName": sort}] if sort else [],
    }
    panel = _panel("table", width, title, shows, act, queries, defaults, overrides, options, runbook)
    panel.json["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    return panel


def traces(title, shows, act, search, *, width=12, limit=20, runbook=None):
    """A list of traces; each leads to the invocation dashboard."""
    overrides = [_override("traceID", links=[links.to_trace()])]
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}, "unit": "none"}
    options = {"cellHeight": "sm", "showHeader": True, "sortBy": []}
    return _panel("table", width, title, shows, act, [traceql(search, limit=limit)], defaults, overrides, options, runbook)


def trace(title, shows, act, *, width=24):
    """The waterfall of the trace that the variable `trace_id` names."""
    return _panel("traces", width, title, shows, act, [traceql("$trace_id")], {}, [], {}, None)


def logs(title, shows, act, expr, *, width=12, oldest_first=False, runbook=None):
    options = {
        "dedupStrategy": "none",
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "showCommonLabels": False,
        "showLabels": False,
        "showLogContextToggle": True,
        "showTime": True,
        "sortOrder": "Ascending" if oldest_first else "Descending",
        "wrapLogMessage": True,
    }
    return _panel("logs", width, title, shows, act, [logql(expr)], {}, [], options, runbook)


def text(title, shows, content, *, width=24):
    """Markdown, for what a dashboard cannot show."""
    options = {"code": {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False}, "content": content, "mode": "markdown"}
    return _panel("text", width, title, shows, None, [], {}, [], options, None)


# --- parts


def _panel(kind, width, title, shows, act, queries, defaults, overrides, options, runbook):
    for index, target in enumerate(queries):
        target["refId"] = _ref(index)
    json = {
        "type": kind,
        "title": title,
        "description": shows if act is None else f"{shows}\n\n**If it looks bad:** {act}",
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "links": [links.to_runbook(runbook)] if runbook else [],
        "options": options,
        "targets": queries,
    }
    if queries:
        json["datasource"] = queries[0]["datasource"]
    return Panel(width, json)


def _ref(index):
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def _thresholds(base, steps):
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}] + [{"color": color, "value": value} for value, color in steps],
    }


def _mappings(values):
    options = {
        str(value): {"color": color, "index": index, "text": text} for index, (value, (text, color)) in enumerate(values.items())
    }
    return [{"options": options, "type": "value"}]


def _override(name, **properties):
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def _column(name, given):
    properties = {}
    if "unit" in given:
        properties["unit"] = given["unit"]
    if "steps" in given:
        properties["thresholds"] = _thresholds(given.get("base", "green"), given["steps"])
        properties["custom.cellOptions"] = {"type": "color-text"}
    if "values" in given:
        properties["mappings"] = _mappings(given["values"])
        properties["custom.cellOptions"] = {"type": "color-text"}
    if "link" in given:
        properties["links"] = [given["link"]]
    return _override(name, **properties)


def _before(name, renamed):
    """What a column is called before it is renamed."""
    return next((old for old, new in renamed.items() if new == name), name)
