//! What a version may use and how its calls are repeated and guarded: the checked form of the manifest's
//! `limits`, `retry` and `circuit_breaker`. Defaults are those of the public contract.

use std::time::Duration;

use super::kind::ErrorKind;

/// `limits` of a manifest. Sizes are bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bounds the whole invocation, queue and backoff included, cold starts not.
    pub timeout: Duration,
    /// Bounds the process tree of a worker (not enforced yet).
    pub memory_bytes: u64,
    pub input_bytes_max: u64,
    pub output_bytes_max: u64,
    /// How many calls run at once.
    pub concurrency: u32,
    /// How many more may wait.
    pub queue: u32,
    pub instances_min: u32,
    pub instances_max: u32,
    /// Instances beyond `instances_min` end after so long without a call.
    pub instance_idle: Duration,
    /// An instance ends in good order after so many calls.
    pub instance_calls_max: Option<u64>,
    /// An instance ends in good order after a call that left it with a higher peak of resident memory, bytes.
    pub instance_memory_max: Option<u64>,
    pub calls_per_instance: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            timeout: Duration::from_secs(30),
            memory_bytes: 512 << 20,
            input_bytes_max: 1 << 20,
            output_bytes_max: 1 << 20,
            concurrency: 4,
            queue: 64,
            instances_min: 0,
            instances_max: 4,
            instance_idle: Duration::from_secs(60),
            instance_calls_max: None,
            instance_memory_max: None,
            calls_per_instance: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    None,
    Fixed,
    Exponential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    None,
    Full,
}

/// `retry` of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// 1 means: no retry.
    pub attempts_max: u32,
    pub backoff: Backoff,
    pub base: Duration,
    pub cap: Duration,
    pub jitter: Jitter,
    /// Bounds one attempt; `None`: only `limits.timeout` does.
    pub attempt_timeout: Option<Duration>,
    pub retry_on: Vec<ErrorKind>,
}

impl Default for RetrySettings {
    fn default() -> RetrySettings {
        RetrySettings {
            attempts_max: 1,
            backoff: Backoff::Exponential,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(5),
            jitter: Jitter::Full,
            attempt_timeout: None,
            retry_on: vec![ErrorKind::Unavailable, ErrorKind::Crashed, ErrorKind::Timeout],
        }
    }
}

/// `circuit_breaker` of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerSettings {
    /// Share of failed calls in the window, 0 to 1, at which the circuit opens.
    pub failure_ratio: f64,
    pub window: Duration,
    /// Below so many calls in the window the circuit stays closed.
    pub calls_min: u32,
    /// How long it stays open before one call may probe.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            failure_ratio: 0.5,
            window: Duration::from_secs(30),
            calls_min: 20,
            open_for: Duration::from_secs(15),
        }
    }
}
