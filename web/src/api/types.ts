// Made by `npm run types` from src/api/openapi.json. Do not edit.

export interface paths {
    "/v1/plugins": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Registered plugins, each with the version that gets calls */
        get: operations["listPlugins"];
        put?: never;
        /** Register a version from its package */
        post: operations["registerPlugin"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One plugin: the version that gets calls, its schemas, all versions */
        get: operations["showPlugin"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Give the calls back to an earlier version */
        post: operations["rollbackPlugin"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Versions of a plugin, newest first */
        get: operations["listVersions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/versions/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One version */
        get: operations["showVersion"];
        put?: never;
        post?: never;
        /** Take a version away; calls under way end first */
        delete: operations["removeVersion"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/versions/{version}/enable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let a version take calls, also one that was rolled back */
        post: operations["enableVersion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/versions/{version}/disable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let a version take no calls; those under way end */
        post: operations["disableVersion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/versions/{version}/package": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The package of a version */
        get: operations["downloadPackage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/invoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Call a plugin */
        post: operations["invoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Call a plugin that the body names */
        post: operations["invokeEnvelope"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/backup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everything that is kept, as one .tar.gz
         * @description Registrations, packages and what happened, each as it is at one moment; `backup.json`, the last part, lists the digest of each. Secrets and tokens are not part of it. An answer that breaks off is no backup.
         */
        get: operations["backup"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts that are, and those that were */
        get: operations["listAlerts"];
        put?: never;
        /**
         * Record what Alertmanager notifies about
         * @description The body of Alertmanager's webhook, version 4, of at most 1 MiB and 1000 alerts. Each change of an alert becomes one log record, `alert.fired` or `alert.resolved`; a repeated notification is counted, not recorded again. Members that are not described are not looked at.
         */
        post: operations["receiveAlerts"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make the versions of a backup those of this server
         * @description The whole backup is checked before anything changes. Versions that are not in it are removed; what happened is added to what is there. Calls under way end on the version that they began with.
         */
        post: operations["restore"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invocations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Calls, newest first; the first page has those that still run */
        get: operations["listInvocations"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invocations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One call with its input and output */
        get: operations["showInvocation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invocations/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End a call that waits or runs */
        post: operations["cancelInvocation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invocations/{id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Run the kept input of an earlier call again, and compare
         * @description A call of its own, on the same version unless `on` says otherwise: the plugin really runs. A call that failed is answered with its problem, which has a member `replay` too.
         */
        post: operations["replayInvocation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/traces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Traces, newest first */
        get: operations["listTraces"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/traces/{trace_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The spans and log lines of one trace */
        get: operations["showTrace"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Log lines, newest first */
        get: operations["listLogs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process answers */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The server takes calls */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Metrics for Prometheus; OpenMetrics with exemplars if Accept asks for it */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/errors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All kinds of error */
        get: operations["errorPages"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/runbooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All runbooks */
        get: operations["runbooks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/runbooks/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What to do about an alert */
        get: operations["runbook"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/errors/{kind}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a kind of error means and what to do */
        get: operations["errorPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A page that says what is here */
        get: operations["index"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/lock": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Which version of each dependency every version uses */
        get: operations["showLock"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/lock/update": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Move dependencies to the highest versions that fit */
        post: operations["updateLock"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What happens, as it happens, as server-sent events
         * @description Events: `invocation` (an ended call as in lists), `active` (calls under way, at most once a second when they changed: {items, total}), `log` (a log record), `change` (a log record with an event_name that changed plugins: register, lifecycle, rollback), `alert` (an Alert that changed), `lost` ({reason: rate|slow|gone, invocations, logs}: messages that were left out). Ids resume by Last-Event-ID as long as the ring of the newest messages reaches.
         */
        get: operations["stream"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/traces/{trace_id}/otlp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One trace as OTLP JSON (ExportTraceServiceRequest) */
        get: operations["exportTrace"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Telemetry's accounting, store, spool: what to look at when something seems missing */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/doctor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What `spanglass doctor` finds */
        get: operations["doctor"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Rates, error ratios and latencies of all plugins, from the built-in series */
        get: operations["overview"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/series": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Calls, errors, latencies and resources over time, from the built-in series */
        get: operations["series"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/errors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Failed calls, grouped by plugin, kind and blame, newest first */
        get: operations["listErrors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/purge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Delete what the ledger keeps of a plugin, of a trace or from before a time */
        post: operations["purge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/drift": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Versions whose values are watched, in a line each */
        get: operations["listDrift"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/drift/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was found, newest first */
        get: operations["listDriftEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/drift": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Drift of one version: each field with its baseline, its current values and its state */
        get: operations["showDrift"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/drift/samples": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Calls that were kept as samples, if the manifest asks for them */
        get: operations["driftSamples"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/baselines": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Baselines of a plugin, newest first */
        get: operations["listBaselines"];
        put?: never;
        /** Pin what a version is compared with from now on */
        post: operations["pinBaseline"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plugins/{name}/baselines/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One baseline with its bins and counts */
        get: operations["showBaseline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @enum {string} */
        Kind: "invalid_input" | "input_too_large" | "unauthenticated" | "forbidden" | "not_found" | "conflict" | "throttled" | "cancelled" | "invalid_output" | "plugin_error" | "crashed" | "memory_exceeded" | "output_too_large" | "timeout" | "unavailable" | "circuit_open" | "sandbox_violation" | "sandbox_unavailable" | "overloaded" | "internal";
        /** @enum {string} */
        Blame: "caller" | "plugin" | "host";
        /** @enum {string} */
        Outcome: "replied" | "failed" | "dropped";
        Call: {
            /** @description As the plugin's input schema says. */
            input: Record<string, never>;
            /** @default invoke */
            action: string;
            /** @description A version, or a range as ^1.2. Without it: the newest release. */
            version?: string;
            /** @description Shortens the plugin's own limit, as 500ms or 5s. */
            timeout?: string;
        };
        Envelope: {
            /** @default invoke */
            action: string;
            /** @description Name of a plugin. */
            plugin_id: string;
            payload: Record<string, never>;
            metadata?: unknown;
            /** @description Accepted, not checked yet. */
            signature?: unknown;
        };
        Meta: {
            invocation_id: string;
            trace_id: string;
            plugin: string;
            version: string | null;
            action: string;
            attempts: number;
            duration_ms: number;
            queue_ms: number;
            cold_start: boolean;
        };
        Success: {
            /** @constant */
            status: "success";
            /** @description As the plugin's output schema says; the list of chunks of a streaming plugin. */
            data: unknown;
            meta: components["schemas"]["Meta"];
        };
        ReplaySide: {
            invocation_id: string;
            trace_id: string;
            version: string | null;
            outcome: components["schemas"]["Outcome"];
            error: {
                kind?: components["schemas"]["Kind"];
                message?: string;
            } | null;
            attempts: number;
            duration_ms: number;
        };
        Replay: {
            original: components["schemas"]["ReplaySide"];
            replayed: components["schemas"]["ReplaySide"];
            output: {
                /** @description null: there are no two outputs to compare. */
                equal: boolean | null;
                /** @description Why they are not compared. */
                reason?: string;
                changes: {
                    /** @enum {string} */
                    op: "added" | "removed" | "changed";
                    /** @description JSON Pointer. */
                    pointer: string;
                    old?: unknown;
                    new?: unknown;
                    /** @description The pointer, or a value, which is then a string, is only a beginning. */
                    truncated?: boolean;
                }[];
                /** @description Differences beyond those that are listed. */
                more: number;
            };
        };
        Problem: {
            /** Format: uri-reference */
            type: string;
            title: string;
            status: number;
            detail: string;
            kind: components["schemas"]["Kind"];
            blame: components["schemas"]["Blame"];
            help?: string;
            /** @description If a call was made. */
            invocation_id?: string;
            /** @description That of the answer's `traceparent`: on every problem under /v1. */
            trace_id?: string;
            retry_after_ms?: number;
            errors?: {
                pointer: string;
                message: string;
            }[];
            exception?: {
                type?: string;
                traceback?: string;
            };
            /** @description Mistakes of a manifest, with their places. */
            diagnostics?: Record<string, never>[];
            /** @description With `conflict` over an idempotency key: the call that holds it. */
            in_flight_invocation_id?: string;
        };
        Plugin: {
            name: string;
            /** @description The one that gets calls; null if none does. */
            version: string | null;
            description?: string | null;
            owner?: string | null;
            runtime: string;
            state: components["schemas"]["State"];
            /** @description Why it failed. */
            cause?: string | null;
            actions?: string[];
            input_schema?: unknown;
            output_schema?: unknown;
            examples?: unknown[];
            limits?: Record<string, never>;
            /** @description What the version promises of its calls; null if nothing. */
            slo?: {
                window?: string;
                availability?: number | null;
                latency?: {
                    target?: number;
                    under?: string;
                } | null;
            } | null;
            versions: string[];
            held_back?: boolean;
            /** @description The folder or zip in which it was found. */
            origin?: string | null;
            dependencies?: {
                name: string;
                version: string;
                required: boolean;
            }[];
            /** @description Newest first. */
            history?: {
                /** Format: date-time */
                at: string;
                version: string;
                from: string;
                to: string;
                cause: string | null;
                by: string;
                reason: string | null;
            }[];
            /** @description How its last instance came to be; null when there was none yet. */
            start?: {
                /** @enum {unknown} */
                mode: "fork" | "spawn";
                /** @description Why it was spawned although it should be a copy of a process that has loaded the plugin. */
                reason: string | null;
            } | null;
            /** @description Why its instances do not start; null when they do. */
            crash_loop?: {
                failures: number;
                retry_after_ms: number | null;
                error: string;
            } | null;
            /** @description What instances are given: defaults of the manifest, replaced by the operator's. Only where one plugin is shown. */
            config?: Record<string, never> | null;
            /** @description Names, never values. Only where one plugin is shown. */
            secrets?: string[];
            /** @description Silence longer than this is an alert. */
            expect_every?: string | null;
        };
        /** @enum {string} */
        State: "initialized" | "registered" | "running" | "destroyed" | "failed";
        Version: {
            name: string;
            version: string;
            description?: string | null;
            owner?: string | null;
            runtime: string;
            state: components["schemas"]["State"];
            cause?: string | null;
            digest: string;
            /** Format: date-time */
            registered_at: string;
            actions?: string[];
            input_schema?: unknown;
            output_schema?: unknown;
            examples?: unknown[];
            limits?: Record<string, never>;
            /** @description What the version promises of its calls; null if nothing. */
            slo?: {
                window?: string;
                availability?: number | null;
                latency?: {
                    target?: number;
                    under?: string;
                } | null;
            } | null;
            held_back?: boolean;
            /** @description The folder or zip in which it was found. */
            origin?: string | null;
            dependencies?: {
                name: string;
                version: string;
                required: boolean;
            }[];
            /** @description How its last instance came to be; null when there was none yet. */
            start?: {
                /** @enum {unknown} */
                mode: "fork" | "spawn";
                /** @description Why it was spawned although it should be a copy of a process that has loaded the plugin. */
                reason: string | null;
            } | null;
            /** @description Why its instances do not start; null when they do. */
            crash_loop?: {
                failures: number;
                retry_after_ms: number | null;
                error: string;
            } | null;
        };
        Registered: {
            name: string;
            version: string;
            digest: string;
            state: components["schemas"]["State"];
            cause?: string | null;
            /** @description False: the same bytes were registered before. */
            created: boolean;
            held_back?: boolean;
        };
        Usage: {
            cpu_ms?: number;
            memory_peak_bytes?: number;
            input_bytes?: number;
            output_bytes?: number;
        };
        Invocation: {
            invocation_id: string;
            trace_id: string;
            plugin: string;
            version: string | null;
            action: string;
            /** @enum {string} */
            state: "queued" | "running" | "done";
            outcome: components["schemas"]["Outcome"] | null;
            error?: components["schemas"]["CallError"] | null;
            /** @description Those of all deliveries of an asynchronous call. Null while a synchronous one is under way. */
            attempts: number | null;
            /** Format: date-time */
            created_at: string;
            duration_ms: number | null;
            /** @description Null until the call has ended. */
            cold_start: boolean | null;
            usage?: components["schemas"]["Usage"] | null;
            /** @description As kept: redacted, and cut at the bound. */
            input?: unknown;
            /** @description The beginning of the input's JSON, as it was kept. Only in lists. */
            input_preview?: string;
            output?: unknown;
            queue_ms?: number | null;
            prepare_ms?: number | null;
            /** @enum {string} */
            origin?: "network" | "local";
            root_span_id?: string;
            spans?: number;
            input_truncated?: boolean;
            input_redacted?: boolean;
            output_truncated?: boolean;
            output_redacted?: boolean;
            replayable?: boolean;
        };
        TraceSummary: {
            trace_id: string;
            name: string;
            invocation_id?: string;
            plugin: string;
            version: string | null;
            outcome: components["schemas"]["Outcome"];
            kind: components["schemas"]["Kind"] | null;
            /** Format: date-time */
            start: string;
            duration_ms: number;
            spans?: number;
            invocations?: number;
        };
        Span: {
            span_id: string;
            parent_span_id: string | null;
            name: string;
            /** @enum {string} */
            kind: "internal" | "server" | "client";
            /** Format: date-time */
            start: string;
            duration_ms: number;
            status: unknown;
            attributes: Record<string, never>;
            events: Record<string, never>[];
        };
        Trace: {
            trace_id: string;
            spans: components["schemas"]["Span"][];
            logs: components["schemas"]["Log"][];
        };
        Log: {
            /** Format: date-time */
            timestamp: string;
            severity_text: string;
            body: string;
            event_name?: string;
            trace_id?: string;
            span_id?: string;
            invocation_id?: string;
            "plugin.name"?: string;
            "plugin.version"?: string;
            /** @enum {string} */
            stream?: "host" | "stdout" | "stderr" | "sdk";
            outcome?: components["schemas"]["Outcome"];
            "error.type"?: components["schemas"]["Kind"];
            duration_ms?: number;
        };
        Head: {
            name: string;
            version: string;
            state: components["schemas"]["State"];
            /** @description Why it failed. */
            cause: string | null;
            /** @description Rolled back: it gets only calls that name it. */
            held_back: boolean;
            digest: string;
            /** @description Versions of other plugins that the lock ties to it. */
            used_by?: string[];
        };
        CallError: {
            kind: components["schemas"]["Kind"];
            blame: components["schemas"]["Blame"];
            message: string;
            exception?: {
                type: string;
                traceback: string;
            };
        };
        Health: {
            /**
             * @description degraded: something below needs a look; `problems` says what.
             * @enum {string}
             */
            status: "ok" | "degraded";
            problems: string[];
            version: string;
            /** Format: date-time */
            started_at: string;
            uptime_s: number;
            data_dir: string;
            sandbox: string;
            ready: boolean;
            waiting_for: string[];
            telemetry: {
                /** @description null: nothing is sent anywhere. */
                endpoint: string | null;
                signals: components["schemas"]["SignalHealth"][];
                spool_bytes_max: number;
            };
            ledger: {
                writable: boolean;
                file_bytes: number;
                bytes_max: number;
                age_max_s: number;
                received: number;
                written: number;
                queued_records: number;
                /** @description Records without a row, by reason, since the start. */
                dropped: {
                    [key: string]: number;
                };
                /** @description Rows that are there. */
                invocations: number;
                logs: number;
                /** Format: date-time */
                oldest: string | null;
                /**
                 * Format: date-time
                 * @description Of calls before this a fair sample is kept, not each; null: each is there.
                 */
                sampled_until: string | null;
                /** @description Calls that ended since the folder exists, exact. */
                seen: number;
                /** @description Exact counts, and of how many there is a row; the 100 with most calls. */
                plugins: {
                    plugin: string;
                    seen: number;
                    kept: number;
                }[];
            };
            disk: {
                available_bytes: number;
            };
            stream: {
                clients: number;
                /** @description Messages that readers of the stream were not sent, ever. */
                missed: number;
            };
        };
        SignalHealth: {
            /** @enum {string} */
            signal: "traces" | "logs" | "metrics";
            produced: number;
            recovered: number;
            exported: number;
            queued: number;
            spooled: number;
            /** @description By reason; reasons with none are left out. */
            dropped: {
                [key: string]: number;
            };
            /** Format: date-time */
            last_export_at: string | null;
            spool_bytes: number;
        };
        Check: {
            name: string;
            /** @enum {string} */
            state: "ok" | "note" | "warning" | "failed";
            detail: string;
            help: string | null;
        };
        Overview: {
            /** Format: date-time */
            at: string;
            window_s: number;
            items: components["schemas"]["PluginRates"][];
            total: components["schemas"]["PluginRates"];
        };
        PluginRates: {
            plugin: string;
            /** @description The one that gets calls; null if none does. */
            version: string | null;
            /** @description Calls that ended in the window. */
            calls: number;
            /** @description Of them failed with blame plugin or host. */
            errors: number;
            /** @description Of them failed with blame caller. */
            refused: number;
            dropped: number;
            /** @description Calls a second. */
            rate: number;
            /** @description errors / (calls - refused - dropped); null without calls that count. */
            error_ratio: number | null;
            p50_ms: number | null;
            p95_ms: number | null;
            /** @description From the histogram of calls that reached an attempt: the upper bound of a bucket, interpolated. */
            p99_ms: number | null;
            /** @description CPU time of the plugin in the window. */
            cpu_ms: number;
            memory_peak_bytes: number;
            /** @description Of those with blame plugin or host, since the server runs. */
            last_error: components["schemas"]["LastError"] | null;
            /** @description The window in equal steps, oldest first. */
            spark: {
                step_s: number;
                /** Format: date-time */
                from: string;
                calls: number[];
                errors: number[];
            };
        };
        LastError: {
            /** Format: date-time */
            at: string;
            kind: components["schemas"]["Kind"];
            message: string;
            invocation_id: string;
            trace_id: string;
        };
        SeriesAnswer: {
            /** @enum {integer} */
            step_s: 1 | 10 | 60 | 600 | 3600;
            /** Format: date-time */
            from: string;
            /** Format: date-time */
            until: string;
            /** @description Beginning of each step, seconds since 1970, ascending. The last one may not be over. */
            times: number[];
            /** @description Upper bounds of the buckets of `heat`. */
            buckets_ms: number[];
            /** @description One a plugin and version; each list is as long as `times`. */
            series: components["schemas"]["Series"][];
            /**
             * Format: date-time
             * @description Nothing is known from before.
             */
            complete_from: string | null;
        };
        Series: {
            plugin: string;
            /** @description null: no version was found to call. */
            version: string | null;
            calls: number[];
            errors: number[];
            refused: number[];
            dropped: number[];
            p50_ms: (number | null)[];
            p95_ms: (number | null)[];
            p99_ms: (number | null)[];
            /** @description Mean wait for an instance. */
            queue_ms: (number | null)[];
            /** @description CPU time of all calls of the step. */
            cpu_ms: number[];
            memory_peak_bytes: number[];
            cold_starts: number[];
            /** @description With heat=true: one list a step, one count a bucket of `buckets_ms`, the last one above all of them. */
            heat?: number[][];
        };
        ErrorGroup: {
            plugin: string;
            kind: components["schemas"]["Kind"];
            blame: components["schemas"]["Blame"];
            /** @description Calls, exact also where the ledger keeps a sample. */
            count: number;
            versions: string[];
            /** Format: date-time */
            first_seen: string;
            /** Format: date-time */
            last_seen: string;
            /** @description Of the example. */
            message: string;
            example: {
                invocation_id: string;
                trace_id: string;
                version: string | null;
            };
        };
        Alert: {
            /** @description Stable: rule, plugin and version. */
            id: string;
            /** @description Name of the built-in rule, or of Alertmanager's alert. */
            rule: string;
            /** @enum {string} */
            source: "builtin" | "alertmanager";
            /** @enum {string} */
            state: "pending" | "firing" | "resolved";
            /** @enum {string} */
            severity: "page" | "ticket" | "none";
            plugin: string | null;
            version: string | null;
            /**
             * Format: date-time
             * @description When it began to be so.
             */
            since: string;
            /** Format: date-time */
            fired_at: string | null;
            /** Format: date-time */
            resolved_at: string | null;
            /** @description One sentence with the numbers. */
            summary: string;
            value: number | null;
            threshold: number | null;
            help: string | null;
            /** @description Where to read on. */
            runbook: string | null;
            /** @description A call that shows it. */
            example: {
                invocation_id: string;
                trace_id: string;
            } | null;
            /** @description Calls that show it, of rules that know several. The first is `example`. */
            examples?: {
                invocation_id: string;
                trace_id: string;
            }[];
            /** @description Of PluginDrift: the fields that have drifted since it fires. */
            fields?: string[];
        };
        Rule: {
            name: string;
            /** @enum {string} */
            severity: "page" | "ticket";
            description: string;
            /** @enum {string} */
            state: "ok" | "pending" | "firing";
            runbook: string;
        };
        Notified: {
            /** @enum {string} */
            kind: "webhook" | "slack" | "command";
            /** @description Without what is secret. */
            target: string;
            sent: number;
            failed: number;
            dropped: number;
            /** Format: date-time */
            last_sent_at: string | null;
            last_error: string | null;
        };
        /**
         * @description insufficient: too few values to say anything. warn: the last step differs. alert: so do two of the last three.
         * @enum {string}
         */
        DriftState: "insufficient" | "ok" | "warn" | "alert";
        /**
         * @description waiting: somebody has to pin a baseline. capturing: the first calls become it.
         * @enum {string}
         */
        DriftPhase: "waiting" | "capturing" | "watching";
        DriftProgress: {
            calls: number;
            wanted: number;
        };
        DriftOverview: {
            plugin: string;
            version: string;
            /** @description Calls that name no version go to it. */
            takes_calls: boolean;
            state: components["schemas"]["DriftState"];
            since: string | null;
            phase: components["schemas"]["DriftPhase"];
            capture: components["schemas"]["DriftProgress"] | null;
            baseline_id: string | null;
            baseline_created_at: string | null;
            window_calls: number;
            /** @description How many are watched. */
            fields: number;
            /** @description Those in alert. */
            drifting: string[];
        };
        BaselineHead: {
            /** @description `sha256:` of its content. */
            id: string;
            /** @enum {string} */
            source: "first_calls" | "file" | "window";
            created_at: string;
            calls: number;
            fields: number;
        };
        DriftWindow: {
            calls: number;
            wanted: number;
            /** @description It is judged after each so many calls. */
            step: number;
        };
        DriftBin: {
            label: string;
            /** @enum {string} */
            kind: "range" | "value" | "category" | "other" | "null" | "invalid";
            /** @description Share of all values, 0 to 1. */
            baseline: number;
            current: number;
            baseline_count: number;
            current_count: number;
            /** @description It holds noticeably more than it did. */
            grew: boolean;
        };
        DriftExample: {
            invocation_id: string;
            trace_id: string;
            at: string;
            /** @description Label of the bin that its value lies in. */
            bin: string;
        };
        DriftField: {
            /** @description As the manifest spells it: `$.input.amount`. */
            field: string;
            /** @description number, category, boolean, text_length or list_size; unknown without a baseline. */
            kind: string;
            state: components["schemas"]["DriftState"];
            since: string | null;
            samples: number;
            baseline_samples: number;
            /** @description Population stability index over the pinned bins, nulls apart. */
            psi: number | null;
            /** @description The same with nulls and values of another type counted in: what is held against `min_effect`. */
            effect: number | null;
            /** @description Jensen-Shannon distance, base 2: 0 to 1. */
            js: number | null;
            /** @description The smallest of the field's tests, adjusted for all tests of the window. */
            pvalue: number | null;
            /** @description Share of values that are null or absent. */
            null_ratio: number | null;
            baseline_null_ratio: number | null;
            /** @description Share of values that the baseline does not have. */
            new_category_ratio: number | null;
            /** @description From 1: how many times more than independent calls the baseline varies from block to block. */
            dispersion: number;
            reason: string | null;
            /** @description What the long window says. */
            long: {
                state: components["schemas"]["DriftState"];
                samples: number;
                psi: number | null;
                js: number | null;
                pvalue: number | null;
            };
            bins: components["schemas"]["DriftBin"][];
            /** @description Calls whose values lie in the bins that grew, newest first. */
            examples: components["schemas"]["DriftExample"][];
            /** @description Oldest first. */
            history: {
                at: string;
                state: components["schemas"]["DriftState"];
                psi: number | null;
                effect: number | null;
                pvalue: number | null;
            }[];
        };
        VersionDrift: {
            plugin: string;
            version: string;
            /** @description The worst of its fields. */
            state: components["schemas"]["DriftState"];
            since: string | null;
            phase: components["schemas"]["DriftPhase"];
            capture: components["schemas"]["DriftProgress"] | null;
            baseline: components["schemas"]["BaselineHead"] | null;
            window: components["schemas"]["DriftWindow"];
            long_window: components["schemas"]["DriftWindow"];
            settings: {
                /** @description In how many windows each call is looked at; a p-value is multiplied by it. */
                looks: number;
                alpha: number;
                min_effect: number;
                min_samples: number;
            };
            /** @description Calls since there is a baseline. */
            calls: number;
            judged_at: string | null;
            /** @description What is kept of it in memory, at most. */
            memory_bytes: number;
            fields: components["schemas"]["DriftField"][];
        };
        DriftEvent: {
            id: string;
            at: string;
            /** @enum {string} */
            type: "drift.detected" | "drift.warned" | "drift.resolved" | "drift.baseline_pinned";
            plugin: string;
            version: string;
            /** @description null: it is about the whole version. */
            field: string | null;
            state: components["schemas"]["DriftState"];
            psi: number | null;
            js: number | null;
            pvalue: number | null;
            baseline_id: string | null;
            summary: string;
            examples: components["schemas"]["DriftExample"][];
        };
        Baseline: {
            /** @description `sha256:` of its content. */
            id: string;
            plugin: string;
            version: string;
            /** @enum {string} */
            source: "first_calls" | "file" | "window";
            created_at: string;
            calls: number;
            fields: number;
            /** @description The version is judged by it. */
            pinned: boolean;
        };
        BaselineDocument: {
            /** @description `sha256:` of its content. */
            id: string;
            plugin: string;
            version: string;
            /** @enum {string} */
            source: "first_calls" | "file" | "window";
            created_at: string;
            calls: number;
            fields: {
                field: string;
                /** @description Of its bins, the last three are: unseen, null, of another type. */
                counts: number[];
            }[];
            /** @description The version is judged by it. */
            pinned: boolean;
        };
    };
    responses: {
        /** @description What went wrong (RFC 9457). 429 and 503 carry Retry-After. */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listPlugins: {
        parameters: {
            query?: {
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Only plugins that have this version; all that is asked of versions must be true of one. */
                version?: string;
                /** @description Registered at this time or later: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Registered before this time. */
                until?: string;
                /** @description Text that the name or the description of a version holds. */
                q?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of plugins. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Plugin"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                        /** @description What lies in a plugin folder and could not be registered. */
                        refused: {
                            path: string;
                            kind: components["schemas"]["Kind"];
                            message: string;
                            help: string | null;
                        }[];
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    registerPlugin: {
        parameters: {
            query?: {
                /** @description `true`: an instance is started first, and a version that does not start is refused. It gets only the calls that name it, until somebody enables it. */
                trial?: boolean;
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/zip": string;
            };
        };
        responses: {
            /** @description These bytes were registered before. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Registered"];
                };
            };
            /** @description Registered. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Registered"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    showPlugin: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The plugin. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Plugin"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
        };
    };
    rollbackPlugin: {
        parameters: {
            query?: {
                /** @description The version to go back to; without it the next lower one that takes calls. */
                to?: string;
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version that gets the calls now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Head"] & {
                        /** @description The version that got them before. */
                        from: string;
                        /** @description Versions of other plugins that the lock ties to it. */
                        used_by?: string[];
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    listVersions: {
        parameters: {
            query?: {
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Registered at this time or later: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Registered before this time. */
                until?: string;
                /** @description Text that name or description holds. */
                q?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of versions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Version"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    showVersion: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Version, as 1.2.3. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Version"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    removeVersion: {
        parameters: {
            query?: {
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Version, as 1.2.3. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    enableVersion: {
        parameters: {
            query?: {
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Version, as 1.2.3. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It takes calls, or says why it cannot. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Head"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    disableVersion: {
        parameters: {
            query?: {
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Version, as 1.2.3. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It takes none. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Head"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    downloadPackage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Version, as 1.2.3. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The zip. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": string;
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    invoke: {
        parameters: {
            query?: {
                /** @description How the reply comes. Without it, `Accept: text/event-stream` asks for a stream, `Prefer: respond-async` for an asynchronous call. */
                mode?: "sync" | "async" | "stream";
            };
            header?: {
                /** @description W3C Trace Context: the trace to go on with. */
                traceparent?: string;
                tracestate?: string;
                baggage?: string;
                /** @description A repeat of the request under the same key within 24 h gets the first reply, and runs nothing. Not with streams. */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Call"];
            };
        };
        responses: {
            /** @description The plugin replied. In stream mode: events `chunk`, then exactly one `end` (the meta) or `error` (the problem). */
            200: {
                headers: {
                    /** @description Trace and root span of the call. */
                    traceparent?: string;
                    /** @description The same, readable for pages. */
                    "Server-Timing"?: string;
                    /** @description `true`: the reply of an earlier call under the same key. */
                    "Idempotency-Replayed"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Success"];
                    "text/event-stream": string;
                };
            };
            /** @description Asynchronous: the call is on the disk and will be run. */
            202: {
                headers: {
                    /** @description Where the call can be looked at and waited for. */
                    Location?: string;
                    /** @description `respond-async`, if that was asked for. */
                    "Preference-Applied"?: string;
                    /** @description Trace and root span of the call. */
                    traceparent?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invocation"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
            502: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
            504: components["responses"]["Problem"];
        };
    };
    invokeEnvelope: {
        parameters: {
            query?: {
                /** @description How the reply comes. Without it, `Accept: text/event-stream` asks for a stream, `Prefer: respond-async` for an asynchronous call. */
                mode?: "sync" | "async" | "stream";
            };
            header?: {
                /** @description W3C Trace Context: the trace to go on with. */
                traceparent?: string;
                tracestate?: string;
                baggage?: string;
                /** @description A repeat of the request under the same key within 24 h gets the first reply, and runs nothing. Not with streams. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Envelope"];
            };
        };
        responses: {
            /** @description The plugin replied. In stream mode: events `chunk`, then exactly one `end` (the meta) or `error` (the problem). */
            200: {
                headers: {
                    /** @description Trace and root span of the call. */
                    traceparent?: string;
                    /** @description The same, readable for pages. */
                    "Server-Timing"?: string;
                    /** @description `true`: the reply of an earlier call under the same key. */
                    "Idempotency-Replayed"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Success"];
                    "text/event-stream": string;
                };
            };
            /** @description Asynchronous: the call is on the disk and will be run. */
            202: {
                headers: {
                    /** @description Where the call can be looked at and waited for. */
                    Location?: string;
                    /** @description `respond-async`, if that was asked for. */
                    "Preference-Applied"?: string;
                    /** @description Trace and root span of the call. */
                    traceparent?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invocation"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
            502: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
            504: components["responses"]["Problem"];
        };
    };
    backup: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The archive. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/gzip": string;
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    listAlerts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What the built-in rules judge, and what Alertmanager notified about. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Firing, then pending, then resolved; at most 200 resolved ones, newest first. */
                        items: components["schemas"]["Alert"][];
                        rules: components["schemas"]["Rule"][];
                        notifications: components["schemas"]["Notified"][];
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    receiveAlerts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @constant */
                    version: "4";
                    alerts: {
                        /** @enum {unknown} */
                        status: "firing" | "resolved";
                        /** @description `alertname`, `severity`, `plugin` and `version` are recorded. */
                        labels: {
                            [key: string]: string;
                        };
                        /** @description `summary`, `runbook_url` and `dashboard_url` are recorded. */
                        annotations: {
                            [key: string]: string;
                        };
                        /** Format: date-time */
                        startsAt: string;
                        endsAt?: string;
                        fingerprint: string;
                    }[];
                };
            };
        };
        responses: {
            /** @description What became of the alerts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Alerts that were news. */
                        recorded: number;
                        /** @description Alerts that had been recorded before, and heartbeats (`severity: none`), of which one an hour is recorded. */
                        repeated: number;
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    restore: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/gzip": string;
            };
        };
        responses: {
            /** @description Restored. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: date-time */
                        created_at: string;
                        spanglass: string;
                        registrations: number;
                        registered: number;
                        removed: number;
                        unchanged: number;
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    listInvocations: {
        parameters: {
            query?: {
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Not older than this: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Not newer than this. */
                until?: string;
                /** @description Text to search for. */
                q?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Only this outcome. */
                outcome?: components["schemas"]["Outcome"];
                /** @description Only this kind of error. */
                kind?: components["schemas"]["Kind"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of calls. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Invocation"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    showInvocation: {
        parameters: {
            query?: {
                /** @description Wait so long at most for the end of the call, up to `60s`. A server that stops answers at once where the call only waits. */
                wait?: string;
            };
            header?: never;
            path: {
                /** @description Id of an invocation. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The call. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invocation"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    cancelInvocation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of an invocation. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The call, which has ended as `dropped`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invocation"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    replayInvocation: {
        parameters: {
            query?: never;
            header?: {
                /** @description W3C Trace Context: the trace to go on with. */
                traceparent?: string;
                tracestate?: string;
                baggage?: string;
            };
            path: {
                /** @description Id of an invocation. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description A version, or a range as ^1.2. Without it: the version that was called. */
                    on?: string;
                    /** @description Shortens the plugin's own limit, as 500ms or 5s. */
                    timeout?: string;
                };
            };
        };
        responses: {
            /** @description The plugin replied. */
            200: {
                headers: {
                    /** @description Trace and root span of the call. */
                    traceparent?: string;
                    /** @description The same, readable for pages. */
                    "Server-Timing"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Success"] & {
                        replay: components["schemas"]["Replay"];
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
            502: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
            504: components["responses"]["Problem"];
        };
    };
    listTraces: {
        parameters: {
            query?: {
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Not older than this: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Not newer than this. */
                until?: string;
                /** @description Text to search for. */
                q?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Only this outcome. */
                outcome?: components["schemas"]["Outcome"];
                /** @description Only this kind of error. */
                kind?: components["schemas"]["Kind"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of traces. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["TraceSummary"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    showTrace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 32 hex digits. */
                trace_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The trace. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Trace"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    listLogs: {
        parameters: {
            query?: {
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Only the last lines of calls with this outcome. */
                outcome?: components["schemas"]["Outcome"];
                /** @description Only lines about an error of this kind. */
                kind?: components["schemas"]["Kind"];
                /** @description Not older than this: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Not newer than this. */
                until?: string;
                /** @description Text to search for. */
                q?: string;
                /** @description Only lines of this trace. */
                trace?: string;
                /** @description Only lines of this invocation. */
                invocation?: string;
                /** @description This severity or worse. */
                level?: "trace" | "debug" | "info" | "warn" | "error" | "fatal";
                /** @description The `follow` of the answer before: only what has come since, oldest first. */
                after?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of log records. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Log"][];
                        next: string | null;
                        /** @description Cursor to go on from with `after`. */
                        follow: string;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It does. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It does. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            /** @description Not yet, or no more. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The exposition. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                    "application/openmetrics-text": string;
                };
            };
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
        };
    };
    errorPages: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The table. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/markdown": string;
                };
            };
        };
    };
    runbooks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The list. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/markdown": string;
                };
            };
        };
    };
    runbook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The alert's name in kebab case, such as `watchdog`. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/markdown": string;
                };
            };
            404: components["responses"]["Problem"];
        };
    };
    errorPage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A kind of error. */
                kind: components["schemas"]["Kind"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/markdown": string;
                };
            };
            404: components["responses"]["Problem"];
        };
    };
    index: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
        };
    };
    showLock: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description spanglass.lock. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        version: 1;
                        plugins: {
                            name: string;
                            version: string;
                            digest: string;
                            dependencies?: {
                                [key: string]: string;
                            };
                        }[];
                    };
                };
            };
            401: components["responses"]["Problem"];
        };
    };
    updateLock: {
        parameters: {
            query?: {
                /** @description Only dependencies on this plugin. */
                plugin?: string;
                /** @description Who makes the change, as he says himself; at most 64 bytes. */
                by?: string;
                /** @description Why, for the plugin's history; at most 256 bytes. */
                reason?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What moved. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        updated: {
                            plugin: string;
                            version: string;
                            dependency: string;
                            from: string | null;
                            to: string;
                        }[];
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    stream: {
        parameters: {
            query?: {
                /** @description Comma-separated: invocations, active, logs, changes, alerts. Default: all but logs. */
                topics?: string;
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Only calls that ended so. */
                outcome?: components["schemas"]["Outcome"];
                /** @description Only errors of this kind. */
                kind?: components["schemas"]["Kind"];
                /** @description Log lines of this severity or worse. */
                level?: "trace" | "debug" | "info" | "warn" | "error" | "fatal";
                /** @description Only lines and calls of this trace. */
                trace?: string;
                /** @description Only what holds this text. */
                q?: string;
            };
            header?: {
                /** @description Id of the last event that was seen. */
                "Last-Event-ID"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Events without end. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    exportTrace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                trace_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What a collector takes at /v1/traces. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The state of the server. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            401: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    doctor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All checks. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        checks: components["schemas"]["Check"][];
                    };
                };
            };
            401: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    overview: {
        parameters: {
            query?: {
                /** @description How far back to look, 10s to 7d. */
                window?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Each registered plugin, and each that had calls in the window. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    series: {
        parameters: {
            query?: {
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Not older than this: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Not newer than this. */
                until?: string;
                /** @description Width of a step; by default the finest that gives at most 400 steps. What is kept decides how far back each reaches. */
                step?: "1s" | "10s" | "1m" | "10m" | "1h";
                /** @description Add up the versions (version is null then). */
                sum?: boolean;
                /** @description With counts by bucket of duration. */
                heat?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Parallel lists. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SeriesAnswer"];
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    listErrors: {
        parameters: {
            query?: {
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Not older than this: RFC 3339, or so long ago as 5m. */
                since?: string;
                /** @description Not newer than this. */
                until?: string;
                /** @description Only errors that are to be blamed on this side. */
                blame?: components["schemas"]["Blame"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Groups of the last 24 hours, unless asked otherwise. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ErrorGroup"][];
                        /** @description Groups beyond the 200 that are listed. */
                        more: number;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    purge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    plugin?: string;
                    trace_id?: string;
                    /** @description RFC 3339, or so long ago as 24h. */
                    before?: string;
                };
            };
        };
        responses: {
            /** @description What is gone. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        deleted: {
                            invocations: number;
                            operations: number;
                            logs: number;
                        };
                    };
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    listDrift: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All of them. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["DriftOverview"][];
                        /** @description Always null: all are listed. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    listDriftEvents: {
        parameters: {
            query?: {
                /** @description Only this plugin. */
                plugin?: string;
                /** @description Only this version. */
                version?: string;
                /** @description Only this type. */
                type?: "drift.detected" | "drift.warned" | "drift.resolved" | "drift.baseline_pinned";
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["DriftEvent"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    showDrift: {
        parameters: {
            query?: {
                /** @description This version; without it the one that takes calls. */
                version?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How it stands. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionDrift"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    driftSamples: {
        parameters: {
            query?: {
                /** @description This version; without it the one that takes calls. */
                version?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description One call a line: `{"input": …, "output": …}`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
        };
    };
    listBaselines: {
        parameters: {
            query?: {
                /** @description Only those of this version. */
                version?: string;
                /** @description At most so many items. */
                limit?: number;
                /** @description The `next` of the page before. */
                cursor?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Baseline"][];
                        /** @description Cursor of the next page; null on the last. */
                        next: string | null;
                    };
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
    pinBaseline: {
        parameters: {
            query?: {
                /** @description This version; without it the one that takes calls. */
                version?: string;
                /** @description `window`: the calls that were seen last, as many as the long window has; or the id of an earlier baseline. Without it the body. */
                from?: string;
            };
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
            };
            cookie?: never;
        };
        /** @description Calls, one a line: `{"input": …, "output": …}`; at most 64 MiB and 100,000 lines. */
        requestBody?: {
            content: {
                "application/x-ndjson": string;
            };
        };
        responses: {
            /** @description It is pinned. */
            201: {
                headers: {
                    /** @description Where it can be read. */
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Baseline"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
        };
    };
    showBaseline: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a plugin. */
                name: string;
                /** @description Id of a baseline: `sha256:` and 64 hex digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The baseline. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BaselineDocument"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            500: components["responses"]["Problem"];
        };
    };
}
