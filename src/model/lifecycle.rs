//! The life of a deployment: `Initialized → Registered → Running → Destroyed`, and `Failed`.

use std::fmt;

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
    Start,
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
