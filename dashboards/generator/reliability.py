"""What the runner does to stay up: breakers, queues, refusals, restarts."""

from links import PAGE_OF_ERROR, PLUGIN_OF_SERIES
from model import PLUGIN, dashboard, row
from panels import CIRCUIT, instant, logs, query, stat, timeline, timeseries
from promql import RANGE, increase, plugin, rate, risen, total
from shared import active_calls, circuit_state, queue_wait

# Calls that were turned away before the plugin saw them.
REFUSED = 'error_type=~"overloaded|throttled|circuit_open|unavailable|sandbox_unavailable|conflict"'
# Exits that are not a stop that was asked for, or the end of an idle or old instance.
BAD_EXITS = 'reason!~"stopped|idle|recycled"'
EVENTS = "circuit[.].+|instance[.]crash_looping|instance[.]start_failed|invocation[.]poisoned|hook[.]failed|fork_server[.]refused"


def build():
    return dashboard(
        "spanglass-reliability",
        "spanglass: reliability",
        "What protects plugins and host, and when it had to: circuit breakers, queues and refusals, restarts, lifecycle, the durable queue.",
        [
            row("Now", *_now(), height=4),
            row("Circuits", *_circuits()),
            row("Overload", *_overload()),
            row("Instances", *_instances()),
            row("Lifecycle and durable queue", *_lifecycle()),
        ],
        variables=[PLUGIN],
    )


def _now():
    is_open = plugin("circuit_state", 'state="open"')
    refused = total("", increase(plugin("invocations_total", REFUSED)))
    busy = plugin("instances", 'state="busy"')
    return [
        stat(
            "Open circuits",
            "Plugins whose calls are refused at once, because too many failed.",
            "*Circuits* names them; the plugin's errors say why.",
            instant(f"count(max by (plugin) ({is_open}) > 0) or vector(0)"), "short", width=6, steps=[(1, "red")],
            runbook="plugin-circuit-open",
        ),
        stat(
            "Refused calls",
            "Calls that were turned away before a plugin saw them, over the time range.",
            "*Refusals by kind* says by what.",
            instant(refused), "short", width=6, steps=[(1, "yellow")], decimals=0, runbook="plugin-overloaded",
        ),
        stat(
            "Busy instances",
            "Share of all instances that run a call.",
            "near 100 % every further call waits: raise `instances.max`, or the number of cores.",
            instant(f"{total('', busy)} / ({total('', plugin('instances'))} > 0)"), "percentunit", width=6,
            steps=[(0.8, "yellow"), (0.95, "red")], none="no instances", decimals=0, runbook="plugin-queue-wait-high",
        ),
        stat(
            "Waiting in the durable queue",
            "Asynchronous calls that were accepted and have not ended.",
            "*Durable queue* shows whether it grows.",
            instant(total("", plugin("queued_invocations"))), "short", width=6, runbook="plugin-queue-wait-high",
        ),
    ]  # fmt: skip


def _circuits():
    opened = plugin("circuit_state", 'state="closed"')
    refused = total("plugin", rate(plugin("invocations_total", 'error_type="circuit_open"')))
    return [
        timeline(
            "Circuits",
            "Each plugin's breaker. *Open*: calls are refused at once. *Half-open*: some are let through as a trial.",
            "open again and again is a plugin that recovers only as long as it is left alone: `disable` it or go back a version.",
            [query(circuit_state(), "{{plugin}}")],
            CIRCUIT, data_links=[PLUGIN_OF_SERIES], runbook="plugin-circuit-open",
        ),
        timeseries(
            "Flapping",
            "How often each circuit opened in 15 minutes. From 3 on it is an alert.",
            "see what fails at the first call after a pause: cold starts, a dependency that only takes a little.",
            [query(f"max by (plugin) (changes({opened}[15m])) / 2", "{{plugin}}")],
            "short", width=12, limits=[(3, "red")], data_links=[PLUGIN_OF_SERIES], runbook="plugin-circuit-flapping",
        ),
        timeseries(
            "Calls refused by an open circuit",
            "Per second, by plugin. They cost nothing and may be repeated.",
            "callers feel these: tell them, or go back to a version that works.",
            [query(refused, "{{plugin}}")],
            "reqps", width=12, data_links=[PLUGIN_OF_SERIES], runbook="plugin-circuit-open",
        ),
    ]  # fmt: skip


def _overload():
    refused = total("error_type", rate(plugin("invocations_total", REFUSED)))
    overloaded = total("plugin", rate(plugin("invocations_total", 'error_type="overloaded"')))
    return [
        timeseries(
            "Refusals by kind",
            "Calls that were turned away before a plugin saw them, per second.",
            "`overloaded`: more is asked than limits allow; `unavailable`: instances do not start; `circuit_open`: see above.",
            [query(refused, "{{error_type}}")],
            "reqps", width=6, stack=True, data_links=[PAGE_OF_ERROR], runbook="plugin-overloaded",
        ),
        timeseries(
            "Overloaded plugins",
            "Calls refused as `overloaded`, per second, by plugin.",
            "raise `limits` or `instances.max`, add a runner, or have the caller slow down.",
            [query(overloaded, "{{plugin}}")],
            "reqps", width=6, data_links=[PLUGIN_OF_SERIES], runbook="plugin-overloaded",
        ),
        queue_wait(6),
        active_calls(6),
    ]  # fmt: skip


def _instances():
    bad_exits = total("plugin, reason", rate(plugin("instance_exits_total", BAD_EXITS)))
    start_failed = total("plugin", risen(plugin("instance_exits_total", 'reason="start_failed"'), "10m"))
    return [
        timeseries(
            "Instances by state",
            "Processes of all chosen plugins by what they do.",
            "many that start and few that are idle is a crash loop or a burst; see *Crash loops*.",
            [query(total("state", plugin("instances")), "{{state}}")],
            "short", stack=True, runbook="plugin-crash-looping",
        ),
        timeseries(
            "Bad exits",
            "Instances that ended as nobody wanted, per second, by reason.",
            "*memory_exceeded*: raise `limits.memory`; *timeout*: calls were cut off; *crashed*: the plugin's log.",
            [query(f"{bad_exits} > 0", "{{plugin}} {{reason}}", empty="no instance crashed, was killed or failed to start in the last minute")],
            "ops", data_links=[PLUGIN_OF_SERIES], runbook="plugin-crash-looping",
        ),
        timeseries(
            "Crash loops",
            "Failed starts of each plugin in 10 minutes. From 3 on it is an alert.",
            "the plugin's log at its start; `spanglass plugin rollback`, or `disable` it so that it costs nothing.",
            [query(start_failed, "{{plugin}}", empty="the series appears with a plugin's first failed start")],
            "short", limits=[(2.5, "red")], data_links=[PLUGIN_OF_SERIES], runbook="plugin-crash-looping",
        ),
    ]  # fmt: skip


def _lifecycle():
    transitions = total("to", increase(plugin("lifecycle_transitions_total"), "5m"))
    failed = total("plugin", risen(plugin("lifecycle_transitions_total", 'to="failed"'), RANGE))
    return [
        timeseries(
            "Lifecycle transitions",
            "Deployments in 5 minutes by the state that they came to: registered, running, failed, destroyed.",
            "*failed*: the event in the log below has the reason; nothing else changed for callers of the version before.",
            [query(transitions, "{{to}}")],
            "short", width=6, bars=True, stack=True, colors={"failed": "red", "running": "green"}, runbook="plugin-install-failed",
        ),
        timeseries(
            "Failed deployments",
            "Deployments of each plugin that failed, over the time range.",
            "`spanglass plugin show` says in which state it is and why.",
            [query(failed, "{{plugin}}", empty="the series appears with a plugin's first failed deployment")],
            "short", width=6, limits=[(1, "red")], data_links=[PLUGIN_OF_SERIES], runbook="plugin-install-failed",
        ),
        timeseries(
            "Durable queue",
            "Asynchronous calls that wait, by plugin. They outlive a restart.",
            "a line that only rises: more is accepted than done. Raise `instances.max`; calls that poison it are in the log.",
            [query(total("plugin", plugin("queued_invocations")), "{{plugin}}")],
            "short", width=6, data_links=[PLUGIN_OF_SERIES], runbook="plugin-queue-wait-high",
        ),
        logs(
            "What the host had to do",
            "Circuits that changed, starts that failed, calls that were given up: the host's own events.",
            "a line's trace_id leads to the call that it happened in.",
            f'{{service_name="spanglass"}} | event_name=~"{EVENTS}" | plugin_name=~"$plugin"',
            width=6,
        ),
    ]  # fmt: skip
