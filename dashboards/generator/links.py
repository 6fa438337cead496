"""Where a dashboard leads to. Every link keeps the time range and the variables that its target has."""

# The variables of all dashboards. `${x:queryparam}` is `var-x=…`, once per chosen value.
KEPT = "${__url_time_range}&${datasource:queryparam}&${instance:queryparam}"


def to_plugin(name, title="Plugin ${__value.text}"):
    """The dashboard of one plugin; `name` is where Grafana finds its name."""
    return _link(title, f"/d/spanglass-plugin?{KEPT}&var-plugin={name}")


def to_trace(trace_id="${__value.raw}", title="Invocation"):
    return _link(title, f"/d/spanglass-invocation?{KEPT}&var-trace_id={trace_id}")


def to_dashboard(uid, title):
    """Another dashboard that has the variable `plugin`."""
    return _link(title, f"/d/{uid}?{KEPT}&${{plugin:queryparam}}")


def to_runbook(name):
    """A page of docs/runbooks, as the runner serves it."""
    return _link(f"Runbook: {name}", f"${{spanglass_url}}/docs/runbooks/{name}", new_tab=True)


def _link(title, url, new_tab=False):
    return {"title": title, "url": url, "targetBlank": new_tab}


# For time series that have the label `plugin`.
PLUGIN_OF_SERIES = to_plugin("${__field.labels.plugin}", "Plugin ${__field.labels.plugin}")
# For tables with a column `plugin`.
PLUGIN_OF_ROW = to_plugin("${__data.fields.plugin}", "Plugin ${__data.fields.plugin}")
# For time series that have the label `error_type`.
PAGE_OF_ERROR = _link("What is ${__field.labels.error_type}?", "${spanglass_url}/docs/errors/${__field.labels.error_type}", new_tab=True)
