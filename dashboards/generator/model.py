"""A dashboard out of rows of panels: ids, places, variables, annotations, links, and the list of its queries."""

import re
import zlib

import panels

COLUMNS = 24
# The model of Grafana 11.6 and 12; later ones migrate it when they read it.
SCHEMA_VERSION = 41
SPANGLASS_URL = "http://localhost:7717"


def row(title, *content, height=8):
    """Panels side by side, in as many lines as they need."""
    return {"title": title, "height": height, "panels": content}


def dashboard(uid, title, description, rows, *, variables=(), refresh="10s", hours="now-1h"):
    """`variables`: those after the data source and the runner's instance."""
    return {
        "annotations": {"list": _annotations(variables)},
        "description": description,
        # Provisioned dashboards change in the repository, not in the browser.
        "editable": False,
        "fiscalYearStartMonth": 0,
        # One crosshair for all panels.
        "graphTooltip": 1,
        "links": _links(),
        "liveNow": False,
        "panels": _place(rows),
        "refresh": refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["spanglass"],
        "templating": {"list": [_datasource(), INSTANCE, *variables, _constant("spanglass_url", SPANGLASS_URL)]},
        "time": {"from": hours, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }


def queries(dashboard):
    """Every query of a finished dashboard, in order; takes out what only this list says."""
    found = []

    def add(panel, ref, language, expr, **rest):
        rest = {key: value for key, value in rest.items() if value is not None}
        found.append({"dashboard": dashboard["uid"], "panel": panel, "ref": ref, "language": language, "expr": expr, **rest})

    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            kind = target["datasource"]["type"]
            empty = target.pop("empty", None)
            language = {"prometheus": "promql", "loki": "logql", "tempo": "traceql"}[kind]
            add(panel["title"], target["refId"], language, target.get("expr") or target["query"], empty_when_healthy=empty)
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            language = {"prometheus": "promql", "loki": "logql"}[annotation["datasource"]["type"]]
            add(f"annotation: {annotation['name']}", "A", language, annotation["expr"], empty_when_healthy=annotation.pop("empty", None))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"]).group(1)
            add(f"variable: {variable['name']}", "A", "promql", series)
    return found


# --- variables


def values(name, label, series, description, *, of=None):
    """A variable with the values that a label has: several may be chosen, or all."""
    query = f"label_values({series}, {of or name})"
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": panels.PROMETHEUS,
        "definition": query,
        "description": description,
        "hide": 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        # Asked again when the time range changes: versions come and go.
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }


INSTANCE = values("instance", "Runner", "spanglass_build_info", "Which runners to look at.")
PLUGIN = values(
    "plugin", "Plugin", 'spanglass_invocations_total{instance=~"$instance"}', "Which plugins to look at; _other are calls of what is not registered."
)
VERSION = values(
    "version", "Version", 'spanglass_invocations_total{instance=~"$instance",plugin=~"$plugin"}', "Which versions of the plugin to look at."
)
SLO = values(
    "slo", "Objective", 'spanglass_slo_objective_ratio{instance=~"$instance",plugin=~"$plugin"}', "Which of a plugin's objectives to look at."
)


def text_box(name, label, description):
    return {
        "current": {"selected": True, "text": "", "value": ""},
        "description": description,
        "hide": 0,
        "label": label,
        "name": name,
        "options": [],
        "query": "",
        "type": "textbox",
    }


def _datasource():
    return {
        "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
        "description": "The Prometheus that scrapes the runners.",
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }


def _constant(name, value):
    # Hidden, and kept out of addresses: it is no choice of the reader.
    return {
        "current": {"selected": True, "text": value, "value": value},
        "description": "Where the runner serves its pages; runbooks are links to it.",
        "hide": 2,
        "name": name,
        "options": [{"selected": True, "text": value, "value": value}],
        "query": value,
        "skipUrlSync": True,
        "type": "constant",
    }


# --- annotations and links

EVENTS = "plugin.registered|plugin.rolled_back|lifecycle.changed"


def _annotations(variables):
    of_plugin = any(variable["name"] == "plugin" for variable in variables)
    logs = '{service_name="spanglass"} | event_name=~"' + EVENTS.replace(".", "[.]") + '"'
    series = 'spanglass_lifecycle_transitions_total{instance=~"$instance"'
    if of_plugin:
        logs += ' | plugin_name=~"$plugin"'
        series += ',plugin=~"$plugin"'
    series += "}"
    return [
        {
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts",
            "type": "dashboard",
        },
        {
            "datasource": panels.LOKI,
            "enable": True,
            "expr": logs,
            "iconColor": "blue",
            "maxLines": 200,
            "name": "Registrations, swaps, rollbacks (events)",
            "tagKeys": "event_name,plugin_name,plugin_version",
            "titleFormat": "{{plugin_name}} {{plugin_version}}: {{event_name}}",
        },
        {
            # The same without Loki, to the minute. A plugin's first transition is a new series, not an increase.
            "datasource": panels.PROMETHEUS,
            "empty": "no plugin was registered, swapped or disabled in the last minute",
            "enable": True,
            "expr": f"sum by (plugin, to) (increase({series}[1m])) > 0 or sum by (plugin, to) ({series} unless {series} offset 1m) > 0",
            "iconColor": "purple",
            "name": "Lifecycle transitions (metric)",
            "step": "60s",
            "tagKeys": "plugin,to",
            "titleFormat": "{{plugin}} is {{to}}",
        },
    ]


def _links():
    return [
        {
            "asDropdown": True,
            "icon": "external link",
            "includeVars": True,
            "keepTime": True,
            "tags": ["spanglass"],
            "targetBlank": False,
            "title": "spanglass",
            "tooltip": "The other dashboards, with the same plugin and time range",
            "type": "dashboards",
            "url": "",
        }
    ]


# --- places


def _place(rows):
    placed, top = [], 0
    for line in rows:
        placed.append(
            {
                "collapsed": False,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
                "id": _id(f"row: {line['title']}"),
                "panels": [],
                "title": line["title"],
                "type": "row",
            }
        )
        top, left = top + 1, 0
        for panel in line["panels"]:
            if left + panel.width > COLUMNS:
                top, left = top + line["height"], 0
            place = {"h": line["height"], "w": panel.width, "x": left, "y": top}
            placed.append(panel.json | {"gridPos": place, "id": _id(panel.json["title"])})
            left += panel.width
        top += line["height"]
    return placed


def _id(title):
    """From the title: a new panel changes no other's address."""
    return zlib.crc32(title.encode()) % 1_000_000
