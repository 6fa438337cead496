"""Runs the demo as people do and looks at it from outside, with a real Prometheus and a real collector.

    smoke.py SPANGLASS OTELCOL

The demo tells where it listens; /metrics is right; Prometheus scrapes it and knows exemplars; an exemplar
leads to its trace; the demo ends by itself; and its spans and logs have arrived at the collector, over HTTP
and over gRPC. Ports are free ones, files are in a temporary folder, and every wait has an end.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import check_metrics

REPOSITORY = Path(__file__).resolve().parents[2]
# From nothing, on a busy machine.
START_SECONDS = 30
# How long the demo may take to make something that can be looked at.
TRAFFIC_SECONDS = 15
# Beyond its duration, for the drain.
END_SECONDS = 20


def main():
    spanglass, otelcol = map(os.path.abspath, sys.argv[1:3])
    with tempfile.TemporaryDirectory(prefix="spanglass-smoke-") as folder:
        over_http(spanglass, otelcol, Path(folder, "http"))
        over_grpc(spanglass, otelcol, Path(folder, "grpc"))
    print("smoke: ok")


def over_http(spanglass, otelcol, folder):
    folder.mkdir()
    with collector(otelcol, folder) as (grpc_port, http_port, received):
        with demo(spanglass, folder, "20s", "http/protobuf", http_port) as server:
            poll("/readyz", START_SECONDS, lambda: get(server.url + "/readyz") is not None)
            with prometheus(server.url, folder) as query:
                poll("/metrics", TRAFFIC_SECONDS, lambda: metrics_are_right(server.url))
                say("/metrics is right, as OpenMetrics and as classic text")

                poll("a scrape", TRAFFIC_SECONDS, lambda: value(query, 'up{job="spanglass"}') == 1)
                poll("invocations", TRAFFIC_SECONDS, lambda: value(query, "sum(spanglass_invocations_total)") > 0)
                exemplars = poll("exemplars", TRAFFIC_SECONDS, lambda: query_exemplars(query))
                say(f"Prometheus has {len(exemplars)} exemplars")

                trace_id = exemplars[-1]["labels"]["trace_id"]
                found = poll("its trace", TRAFFIC_SECONDS, lambda: get(f"{server.url}/v1/traces/{trace_id}"))
                trace = json.loads(found)
                assert trace["trace_id"] == trace_id, trace["trace_id"]
                roots = [span for span in trace["spans"] if span["name"].startswith("invoke ")]
                assert roots, f"the trace of an exemplar has no invoke span: {trace}"
                say(f"an exemplar leads to its trace, of {len(trace['spans'])} spans")
            server.wait()
        check_output(server)

    spans, logs = arrived(received)
    assert trace_id in {span["traceId"] for span in spans}, f"the exemplar's trace {trace_id} never arrived"
    check_arrived(spans, logs, "HTTP")


def over_grpc(spanglass, otelcol, folder):
    folder.mkdir()
    with collector(otelcol, folder) as (grpc_port, http_port, received):
        with demo(spanglass, folder, "5s", "grpc", grpc_port) as server:
            server.wait()
        check_output(server)
    check_arrived(*arrived(received), "gRPC")


# === What is checked ===


def metrics_are_right(url):
    problems = check_metrics.check(url + "/metrics", exemplars=True)
    assert not problems, "\n".join(problems)
    return True


def check_output(server):
    """Under --json, stdout is JSON from the first line to the last."""
    lines = server.output.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert records[0]["event"] == "listening", lines[0]
    assert len(records) > 1, "no log line after the first"
    for record in records[1:]:
        for key in ("timestamp", "severity_text", "body"):
            assert key in record, f"a log line has no {key}: {record}"
    about_calls = [record for record in records if "invocation_id" in record]
    assert about_calls and all(re.fullmatch("[0-9a-f]{32}", record["trace_id"]) for record in about_calls)
    say(f"the demo ended by itself, after {len(records)} lines of JSON")


def check_arrived(spans, logs, transport):
    roots = [span for span in spans if span["name"].startswith("invoke ")]
    assert roots, f"no invoke span arrived over {transport}"
    identified = [log for log in logs if log.get("traceId")]
    assert identified, f"no log with a trace id arrived over {transport}"
    ids = [span["spanId"] for span in spans]
    assert len(ids) == len(set(ids)), f"spans arrived twice over {transport}"
    say(f"{len(spans)} spans of {len(roots)} invocations and {len(logs)} logs arrived over {transport}")


def query_exemplars(query):
    now = time.time()
    found = query("query_exemplars", query=check_metrics.DURATION + "_bucket", start=now - 60, end=now + 60)
    return [exemplar for series in found for exemplar in series["exemplars"]]


def value(query, expression):
    result = query("query", query=expression)["result"]
    return float(result[0]["value"][1]) if result else 0


def arrived(received):
    """The spans and logs that the collector wrote."""
    spans, logs = [], []
    for line in received.read_text().splitlines() if received.exists() else []:
        document = json.loads(line)
        for resource in document.get("resourceSpans", []):
            for scope in resource["scopeSpans"]:
                spans += scope["spans"]
        for resource in document.get("resourceLogs", []):
            for scope in resource["scopeLogs"]:
                logs += scope["logRecords"]
    return spans, logs


# === What runs ===


class Server:
    def __init__(self, process, output, duration):
        self.process, self.output, self.duration = process, output, duration
        listening = json.loads(poll("the listening line", START_SECONDS, self.first_line))
        self.url = listening["url"].rstrip("/")

    def first_line(self):
        alive(self.process)
        line, newline, _ = self.output.read_text().partition("\n")
        return line if newline else None

    def wait(self):
        status = self.process.wait(timeout=float(self.duration.rstrip("s")) + END_SECONDS)
        assert status == 0, f"the demo ended with {status}"


@contextlib.contextmanager
def demo(spanglass, folder, duration, protocol, port):
    command = [spanglass, "demo", "--no-open", "--duration", duration, "--json"]
    command += ["--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SPANGLASS_"))}
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    output = folder / "demo.out"
    with running(command, folder / "demo", env=environment, cwd=folder) as process:
        yield Server(process, output, duration)


@contextlib.contextmanager
def collector(otelcol, folder):
    grpc_port, http_port = free_ports(2)
    received = folder / "received.json"
    environment = {
        **os.environ,
        "SPANGLASS_TEST_OTLP_GRPC_PORT": str(grpc_port),
        "SPANGLASS_TEST_OTLP_HTTP_PORT": str(http_port),
        "SPANGLASS_TEST_OTLP_FILE": str(received),
    }
    command = [otelcol, "--config", str(REPOSITORY / "otel-collector" / "test.yaml")]
    with running(command, folder / "collector", env=environment) as process:
        for port in (grpc_port, http_port):
            poll("the collector", START_SECONDS, lambda port=port: alive(process) and connects(port))
        yield grpc_port, http_port, received


@contextlib.contextmanager
def prometheus(url, folder):
    (port,) = free_ports(1)
    # JSON is YAML.
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "spanglass", "static_configs": [{"targets": [urllib.parse.urlsplit(url).netloc]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus-data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn"]

    def query(path, **parameters):
        answer = get(f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert answer is not None, f"Prometheus does not answer {path}"
        return json.loads(answer)["data"]

    with running(command, folder / "prometheus") as process:
        ready = f"http://127.0.0.1:{port}/-/ready"
        poll("Prometheus", START_SECONDS, lambda: alive(process) and get(ready) is not None)
        yield query


@contextlib.contextmanager
def running(command, log, **options):
    """A child process, its output in LOG.out and LOG.err; shows its last words if something goes wrong."""
    out, err = (log.with_name(log.name + suffix) for suffix in (".out", ".err"))
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, **options)
    try:
        yield process
    except BaseException:
        for path in (out, err):
            tail = path.read_text(errors="replace").splitlines()[-20:]
            print(f"--- {path.name}", *tail, sep="\n", file=sys.stderr)
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# === Small things ===


def poll(what, seconds, probe):
    """What `probe` returns, once it is true. A probe that fails is asked again until the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = probe()
            if result:
                return result
            problem = "nothing yet"
        except (AssertionError, OSError, KeyError, ValueError) as error:
            problem = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not right after {seconds} s: {problem}")
        time.sleep(0.2)


def get(url):
    """The body of a good answer; None for any other."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode("utf-8")
    except (urllib.error.URLError, ConnectionError):
        return None


def alive(process):
    if process.poll() is not None:
        raise SystemExit(f"{process.args[0]} ended at once, with {process.returncode}")
    return True


def connects(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def say(text):
    print(f"smoke: {text}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or shutil.which("prometheus") is None:
        sys.exit("usage: smoke.py SPANGLASS OTELCOL, with prometheus on PATH")
    main()
