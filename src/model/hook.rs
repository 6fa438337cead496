//! Hooks that a plugin may have beside its actions.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before the first call of an instance.
    OnStart,
    /// After its last one.
    OnStop,
    /// Whether it is well; asked while it is idle.
    Health,
}

impl Hook {
    pub const ALL: &'static [Hook] = &[Hook::OnStart, Hook::OnStop, Hook::Health];

    pub const fn as_str(self) -> &'static str {
        match self {
            Hook::OnStart => "on_start",
            Hook::OnStop => "on_stop",
            Hook::Health => "health",
        }
    }

    pub fn parse(text: &str) -> Option<Hook> {
        Hook::ALL.iter().copied().find(|hook| hook.as_str() == text)
    }
}
