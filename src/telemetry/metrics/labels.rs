//! Closed sets of label values.

/// What an instance does. Values of the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    Starting,
    Idle,
    Busy,
}

/// Why an instance ended. Values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Its deployment went away or the server stopped.
    Stopped,
    /// It had nothing to do.
    Idle,
    /// It had served its share of calls, or its last call left something running.
    Recycled,
    /// It was killed: its caller left.
    Killed,
    /// It was killed: its call was not over at the deadline.
    Timeout,
    /// It died by itself.
    Crashed,
    MemoryExceeded,
    /// Its `health` hook said no, or nothing.
    Unhealthy,
    /// It never became ready.
    StartFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

/// States of a deployment. Values of the label `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    Initialized,
    Registered,
    Running,
    Destroyed,
    Failed,
}

/// How preparing an instance ended. Values of the label `result` of `prepare_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareResult {
    Ok,
    Failed,
    /// There was nothing to start it in: the environment of its plugin could not be built.
    InstallFailed,
}

/// What a version can promise. Values of the label `slo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    Availability,
    Latency,
}

/// Whether a call kept to an objective. Values of the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloResult {
    Good,
    Bad,
}

macro_rules! label {
    ($type:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text),* }
            }
        }
    };
}

label!(InstanceState { Starting = "starting", Idle = "idle", Busy = "busy" });
label!(ExitReason {
    Stopped = "stopped",
    Idle = "idle",
    Recycled = "recycled",
    Killed = "killed",
    Timeout = "timeout",
    Crashed = "crashed",
    MemoryExceeded = "memory_exceeded",
    Unhealthy = "unhealthy",
    StartFailed = "start_failed",
});
label!(CircuitState { Closed = "closed", Open = "open", HalfOpen = "half_open" });
label!(PrepareResult { Ok = "ok", Failed = "failed", InstallFailed = "install_failed" });
label!(Objective { Availability = "availability", Latency = "latency" });
label!(SloResult { Good = "good", Bad = "bad" });
label!(Lifecycle {
    Initialized = "initialized",
    Registered = "registered",
    Running = "running",
    Destroyed = "destroyed",
    Failed = "failed",
});
