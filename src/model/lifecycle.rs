//! The life of a deployment: `Initialized → Registered → Running → Destroyed`, and `Failed`.

use std::fmt;
use std::sync::Arc;

/// `Running` means that it takes calls, even with no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    Initialized,
    Registered,
    Running,
    Destroyed,
    Failed { stage: Stage, cause: String },
}

/// Where a deployment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Register,
    /// Another plugin that it needs is not there.
    Dependencies,
    Start,
}

/// Who makes a change, and why, in his own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// As he says himself: nothing proves it yet.
    pub by: Arc<str>,
    pub reason: Option<Arc<str>>,
}

impl Actor {
    /// Longest name and reason that are kept.
    pub const BY_BYTES_MAX: usize = 64;
    pub const REASON_BYTES_MAX: usize = 256;

    pub fn new(by: impl Into<Arc<str>>) -> Actor {
        Actor { by: by.into(), reason: None }
    }

    pub fn because(self, reason: impl Into<Arc<str>>) -> Actor {
        Actor { reason: Some(reason.into()), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deployment cannot go from {from} to {to}")]
pub struct IllegalTransition {
    pub from: &'static str,
    pub to: &'static str,
}

impl Lifecycle {
    /// The word in answers and in the label `to`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Lifecycle::Initialized => "initialized",
            Lifecycle::Registered => "registered",
            Lifecycle::Running => "running",
            Lifecycle::Destroyed => "destroyed",
            Lifecycle::Failed { .. } => "failed",
        }
    }

    /// The next state, if the step is a legal one.
    pub fn to(&self, next: Lifecycle) -> Result<Lifecycle, IllegalTransition> {
        use Lifecycle::{Destroyed, Failed, Initialized, Registered, Running};
        let legal = match (self, &next) {
            (Initialized, Registered) | (Registered, Running) | (Running, Registered) => true,
            (Failed { .. }, Registered) => true,
            (Destroyed, _) => false,
            (_, Failed { .. } | Destroyed) => true,
            _ => false,
        };
        if legal { Ok(next) } else { Err(IllegalTransition { from: self.as_str(), to: next.as_str() }) }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifecycle::Failed { stage, cause } => write!(f, "failed ({}): {cause}", stage.as_str()),
            other => f.write_str(other.as_str()),
        }
    }
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Register => "register",
            Stage::Dependencies => "dependencies",
            Stage::Start => "start",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_steps_are_these_and_no_others() {
        let failed = Lifecycle::Failed { stage: Stage::Start, cause: "x".into() };
        let states =
            [Lifecycle::Initialized, Lifecycle::Registered, Lifecycle::Running, Lifecycle::Destroyed, failed];
        let legal: Vec<String> = states
            .iter()
            .flat_map(|from| states.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.to((*to).clone()).is_ok())
            .map(|(from, to)| format!("{}>{}", from.as_str(), to.as_str()))
            .collect();
        let expected = "initialized>registered initialized>destroyed initialized>failed registered>running \
                        registered>destroyed registered>failed running>registered running>destroyed \
                        running>failed failed>registered failed>destroyed failed>failed";
        assert_eq!(legal.join(" "), expected);
    }
}
