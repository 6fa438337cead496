//! The checked manifest: what the rest of the program uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use semver::{Version, VersionReq};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::invocation::DEFAULT_ACTION;
use crate::model::kind::ErrorKind;
use crate::model::limits::{BreakerSettings, Limits, RetrySettings};
use crate::model::name::PluginName;
use crate::model::slo::Slo;

use super::observe::Observe;

/// A manifest without mistakes, defaults filled in.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: PluginName,
    pub version: Version,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub runtime: RuntimeKind,
    /// As the runtime understands it: `executor.py:invoke` for Python, `bin/greet` for a process. Action
    /// `invoke`.
    pub entrypoint: String,
    /// Further actions and their entry points; does not hold `invoke`.
    pub actions: BTreeMap<String, Action>,
    /// JSON Schema 2020-12 of input and output (of each chunk, if the output is streamed); shorthand is
    /// expanded already. `None`: anything goes.
    pub input_schema: Option<Arc<Value>>,
    pub output_schema: Option<Arc<Value>>,
    pub dependencies: Vec<Dependency>,
    pub config: Map<String, Value>,
    pub config_schema: Option<Arc<Value>>,
    pub secrets: Vec<String>,
    pub requires: Requires,
    pub limits: Limits,
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    /// The least isolation that the plugin asks for. Above [`SandboxTier::S0`] a build without a sandbox must
    /// refuse to register it with `sandbox_unavailable`.
    pub sandbox_min_tier: SandboxTier,
    pub isolation: Isolation,
    pub start: Start,
    pub slo: Slo,
    /// A plugin that had no call for longer is worth an alert.
    pub expect_every: Option<Duration>,
    /// Which values are watched for drift. `None`: none.
    pub observe: Option<Observe>,
    pub examples: Vec<Example>,
}

impl Manifest {
    /// The manifest of something that has none: Python, everything else as it is by default.
    pub fn minimal(name: PluginName, version: Version, entrypoint: String) -> Manifest {
        Manifest {
            name,
            version,
            entrypoint,
            description: None,
            owner: None,
            runtime: RuntimeKind::Python,
            actions: BTreeMap::new(),
            input_schema: None,
            output_schema: None,
            dependencies: Vec::new(),
            config: Map::new(),
            config_schema: None,
            secrets: Vec::new(),
            requires: Requires::default(),
            limits: Limits::default(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            sandbox_min_tier: SandboxTier::S0,
            isolation: Isolation::default(),
            start: Start::default(),
            slo: Slo::default(),
            expect_every: None,
            observe: None,
            examples: Vec::new(),
        }
    }

    /// The entry point of an action, `None` for an action that the plugin lacks.
    pub fn entrypoint_of(&self, action: &str) -> Option<&str> {
        if action == DEFAULT_ACTION {
            return Some(&self.entrypoint);
        }
        self.actions.get(action).map(|action| action.entrypoint.as_str())
    }

    /// All actions, `invoke` first.
    pub fn action_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(DEFAULT_ACTION).chain(self.actions.keys().map(String::as_str))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    Python,
    /// An executable that speaks the worker protocol by itself.
    Process,
}

impl RuntimeKind {
    pub const ALL: &'static [RuntimeKind] = &[RuntimeKind::Python, RuntimeKind::Process];

    pub const fn as_str(self) -> &'static str {
        match self {
            RuntimeKind::Python => "python",
            RuntimeKind::Process => "process",
        }
    }
}

/// Whether an entry point is JavaScript, which is not executed itself but by `node`.
pub fn runs_under_node(entrypoint: &str) -> bool {
    let suffix = entrypoint.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    matches!(suffix, "js" | "mjs" | "cjs")
}

/// What calls of a plugin share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// A worker runs one call after the other.
    #[default]
    Worker,
    /// A fresh process for every call.
    Call,
}

/// How workers come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// As copies of a process that has loaded the plugin, where that can be.
    #[default]
    Auto,
    /// Each loads the plugin for itself.
    Spawn,
}

/// How far a plugin is kept from the host, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SandboxTier {
    /// None.
    #[default]
    S0,
    S1,
    S2,
    S3,
    S4,
}

impl SandboxTier {
    pub const ALL: &'static [SandboxTier] =
        &[SandboxTier::S0, SandboxTier::S1, SandboxTier::S2, SandboxTier::S3, SandboxTier::S4];

    pub const fn as_str(self) -> &'static str {
        match self {
            SandboxTier::S0 => "S0",
            SandboxTier::S1 => "S1",
            SandboxTier::S2 => "S2",
            SandboxTier::S3 => "S3",
            SandboxTier::S4 => "S4",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub entrypoint: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub name: PluginName,
    pub version: VersionReq,
    pub required: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requires {
    /// Version specifiers as in Python packaging, `>=3.9,<4`; checked for their form.
    pub python: Option<String>,
    pub spanglass: Option<VersionReq>,
}

/// A golden example of a call: run by `plugin test`, offered as a first input elsewhere.
#[derive(Clone, Debug)]
pub struct Example {
    pub name: String,
    pub action: String,
    pub input: Arc<RawValue>,
    pub expect: Option<Expect>,
    /// Answers for `ctx.services.http`, so that the example needs no network.
    pub http: Vec<HttpStub>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    pub shape: ExpectShape,
    /// Largest absolute difference between numbers.
    pub tolerance: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExpectShape {
    /// Equal to this. A streamed output is the list of its chunks.
    Output(Value),
    /// Contains this: objects may have more fields.
    Match(Value),
    /// Fits this JSON Schema.
    Schema(Value),
    /// Fails with this kind.
    Error(ErrorKind),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpStub {
    pub method: Option<String>,
    pub url: String,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Answer only after this long.
    pub delay: Option<Duration>,
}
