"""Checks what /metrics says, with the parsers of prometheus_client and what they do not look at.

    check_metrics.py URL            # exits with 1 and prints the problems, one a line
    check_metrics.py URL --exemplars    # also asks for at least one exemplar

Needs prometheus_client: scripts/python.sh prints the path of an interpreter that has it.
"""

import argparse
import math
import re
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
CLASSIC = "text/plain; version=0.0.4"
# What Prometheus 2.42 sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

DURATION = "spanglass_invocation_duration_seconds"
DURATION_BOUNDS = [
    "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
    "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf",
]  # fmt: skip

# Families that exist on every server with a plugin that was called, without the suffix of counters.
FAMILIES = {
    "spanglass_invocations": "counter",
    DURATION: "histogram",
    "spanglass_queue_wait_seconds": "histogram",
    "spanglass_attempts": "counter",
    "spanglass_cold_starts": "counter",
    "spanglass_active_invocations": "gauge",
    "spanglass_instances": "gauge",
    "spanglass_circuit_state": "gauge",
    "spanglass_lifecycle_transitions": "counter",
    "spanglass_telemetry_produced": "counter",
    "spanglass_telemetry_recovered": "counter",
    "spanglass_telemetry_exported": "counter",
    "spanglass_telemetry_dropped": "counter",
    "spanglass_telemetry_queued_records": "gauge",
    "spanglass_telemetry_spooled_records": "gauge",
    "spanglass_telemetry_spool_bytes": "gauge",
    "spanglass_build_info": "gauge",
    "spanglass_store_writable": "gauge",
    "spanglass_data_dir_available_bytes": "gauge",
}

KINDS = {page.stem for page in Path(__file__).parents[2].glob("docs/errors/*.md")} - {"README"}
CLOSED_LABELS = {
    "outcome": {"replied", "failed", "dropped"},
    "blame": {"none", "caller", "plugin", "host"},
    "error_type": KINDS | {"none", "", "_other"},
    "signal": {"traces", "logs", "metrics"},
}
FORBIDDEN_LABELS = {"invocation_id", "trace_id", "span_id", "user", "path", "error", "message", "tenant_id"}


def check(url, exemplars=False):
    """The problems of a server's /metrics, as texts. Reads it three times."""
    problems = []
    openmetrics = fetch(url, PROMETHEUS_ACCEPT, OPENMETRICS, problems)
    classic = fetch(url, "text/plain;version=0.0.4", CLASSIC, problems)
    browser = fetch(url, "text/html,*/*;q=0.8", CLASSIC, problems)

    first = parse("OpenMetrics", parse_openmetrics, openmetrics, problems)
    second = parse("classic text", parse_classic, classic, problems)
    parse("classic text for a browser", parse_classic, browser, problems)

    check_openmetrics_text(openmetrics, problems)
    if "# EOF" in classic or " # {" in classic:
        problems.append("classic text: has an exemplar or # EOF, which are OpenMetrics'")
    check_families(first, problems)
    check_labels(first, problems)
    check_histograms(first, problems)
    check_exemplars(first, exemplars, problems)
    check_accounting(first, problems)
    check_accounting(second, problems)

    # Series are never taken back, so those of the first text must be in the second.
    missing = series(first) - series(second)
    problems += [f"classic text: lacks {name}{dict(labels)}" for name, labels in sorted(missing)[:5]]
    return problems


def fetch(url, accept, expected, problems):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        found = response.headers["Content-Type"]
        # The character set may be said or not.
        if found.replace(" ", "").removesuffix(";charset=utf-8") != expected.replace(" ", ""):
            problems.append(f"Content-Type for {accept[:40]}… is {found}, not {expected}")
        return response.read().decode("utf-8")


def parse(name, parser, text, problems):
    try:
        return list(parser(text))
    except Exception as error:  # The parsers raise whatever they run into.
        problems.append(f"{name} does not parse: {type(error).__name__}: {error}")
        return []


def check_openmetrics_text(text, problems):
    if not text.endswith("# EOF\n"):
        problems.append("OpenMetrics: does not end with # EOF")
    # Families are contiguous, each described once.
    described = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    twice = {name for name in described if described.count(name) > 1}
    problems += [f"OpenMetrics: {name} comes twice" for name in sorted(twice)]


def check_families(families, problems):
    found = {family.name: family.type for family in families}
    for name in found:
        if not name.startswith("spanglass_"):
            problems.append(f"{name} does not start with spanglass_")
    for name, kind in FAMILIES.items():
        if name not in found:
            problems.append(f"{name} is not there")
        elif found[name] != kind:
            problems.append(f"{name} is a {found[name]}, not a {kind}")
    for family in families:
        if not family.documentation:
            problems.append(f"{family.name} has no HELP")


def check_labels(families, problems):
    for family in families:
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label in FORBIDDEN_LABELS:
                    problems.append(f"{sample.name} has the label {label}")
                if label in CLOSED_LABELS and value not in CLOSED_LABELS[label]:
                    problems.append(f"{sample.name} has {label}={value!r}")


def check_histograms(families, problems):
    for family in families:
        if family.type != "histogram":
            continue
        buckets, counts = defaultdict(list), {}
        for sample in family.samples:
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            if sample.name.endswith("_bucket"):
                buckets[labels].append((sample.labels["le"], sample.value))
            elif sample.name.endswith("_count"):
                counts[labels] = sample.value
        for labels, rows in buckets.items():
            bounds = [bound for bound, _ in rows]
            values = [value for _, value in rows]
            where = f"{family.name}{dict(labels)}"
            # Prometheus 2 keeps `le` as it is written: 0.00005 and 5e-05 would be two series.
            wrong = [bound for bound in bounds if bound != "+Inf" and bound != repr(float(bound))]
            if wrong:
                problems.append(f"{where}: le is not in Go's form: {wrong}")
            if family.name == DURATION and bounds != DURATION_BOUNDS:
                problems.append(f"{where}: bounds are {bounds}")
            if values != sorted(values) or not bounds or bounds[-1] != "+Inf" or values[-1] != counts.get(labels):
                problems.append(f"{where}: buckets {values} do not add up to {counts.get(labels)}")


def check_exemplars(families, wanted, problems):
    found = 0
    for family in families:
        for sample in family.samples:
            exemplar = sample.exemplar
            if exemplar is None:
                continue
            found += 1
            where = f"exemplar of {sample.name}{sample.labels}"
            trace_id, span_id = exemplar.labels.get("trace_id", ""), exemplar.labels.get("span_id", "")
            if not re.fullmatch("[0-9a-f]{32}", trace_id) or not re.fullmatch("[0-9a-f]{16}", span_id):
                problems.append(f"{where} has the ids {trace_id!r} and {span_id!r}")
            if set(trace_id) == {"0"} or set(span_id) == {"0"}:
                problems.append(f"{where} has ids of zeros")
            # Without one, Prometheus takes the time of the scrape and the same exemplar again and again.
            if exemplar.timestamp is None:
                problems.append(f"{where} has no timestamp")
            if exemplar.value > float(sample.labels.get("le", math.inf)):
                problems.append(f"{where} has the value {exemplar.value}, which is in another bucket")
    if wanted and found == 0:
        problems.append("OpenMetrics: no exemplar")


def check_accounting(families, problems):
    """produced + recovered = exported + queued + spooled + dropped, per signal and at every scrape."""
    sums = defaultdict(lambda: defaultdict(float))
    for family in families:
        term = family.name.removeprefix("spanglass_telemetry_")
        for sample in family.samples if term != family.name else []:
            sums[sample.labels["signal"]][term] += sample.value
    for signal in ("traces", "logs"):
        terms = sums[signal]
        come = terms["produced"] + terms["recovered"]
        gone = terms["exported"] + terms["queued_records"] + terms["spooled_records"] + terms["dropped"]
        if come != gone:
            balance = f"{come:.0f} came, {gone:.0f} went"
            problems.append(f"telemetry of {signal} does not add up: {balance}: {dict(terms)}")


def series(families):
    return {(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples}


def main():
    arguments = argparse.ArgumentParser(description="Checks what /metrics says.")
    arguments.add_argument("url")
    arguments.add_argument("--exemplars", action="store_true", help="ask for at least one exemplar")
    given = arguments.parse_args()
    problems = check(given.url, given.exemplars)
    print("\n".join(problems) or "metrics: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
