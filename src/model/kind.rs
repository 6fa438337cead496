//! The closed set of error kinds, who is to blame for each, and the three endings of an invocation.

use std::fmt;

/// Who caused an error. Only `Plugin` and `Host` count in error ratios, objectives and canary judgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    Caller,
    Plugin,
    Host,
}

impl Blame {
    pub const fn as_str(self) -> &'static str {
        match self {
            Blame::Caller => "caller",
            Blame::Plugin => "plugin",
            Blame::Host => "host",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident, $text:literal, $blame:ident;)*) => {
        /// Why an invocation, or a request about one, failed. One page each in `docs/errors/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The name in problem documents, labels, spans and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorKind::$variant => $text,)* }
            }

            pub const fn blame(self) -> Blame {
                match self { $(ErrorKind::$variant => Blame::$blame,)* }
            }
        }
    };
}

kinds! {
    InvalidInput, "invalid_input", Caller;
    InputTooLarge, "input_too_large", Caller;
    Unauthenticated, "unauthenticated", Caller;
    Forbidden, "forbidden", Caller;
    NotFound, "not_found", Caller;
    /// Same version with other bytes, a key in flight, or something in use.
    Conflict, "conflict", Caller;
    Throttled, "throttled", Caller;
    /// The caller left before the end; the outcome is `dropped`.
    Cancelled, "cancelled", Caller;
    InvalidOutput, "invalid_output", Plugin;
    PluginError, "plugin_error", Plugin;
    Crashed, "crashed", Plugin;
    MemoryExceeded, "memory_exceeded", Plugin;
    OutputTooLarge, "output_too_large", Plugin;
    Timeout, "timeout", Plugin;
    /// The plugin cannot be called now; also: preparing it failed.
    Unavailable, "unavailable", Plugin;
    CircuitOpen, "circuit_open", Plugin;
    SandboxViolation, "sandbox_violation", Plugin;
    SandboxUnavailable, "sandbox_unavailable", Host;
    Overloaded, "overloaded", Host;
    Internal, "internal", Host;
}

impl ErrorKind {
    pub fn parse(text: &str) -> Option<ErrorKind> {
        ErrorKind::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an invocation ended: exactly one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Replied,
    Failed,
    /// The caller left.
    Dropped,
}

impl Outcome {
    pub const ALL: &'static [Outcome] = &[Outcome::Replied, Outcome::Failed, Outcome::Dropped];

    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Replied => "replied",
            Outcome::Failed => "failed",
            Outcome::Dropped => "dropped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
