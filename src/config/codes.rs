//! The codes that only configuration has; the others are those of manifests (`package::codes`). A code is
//! stable and is never given to something else; `docs/configuration.md` lists them.

pub const INVALID_ADDRESS: &str = "SG0601";
pub const INVALID_HOST: &str = "SG0602";
pub const INVALID_PATH: &str = "SG0603";
pub const INVALID_URL: &str = "SG0604";
pub const SECRET_WRITTEN: &str = "SG0605";
pub const NOT_UNICODE: &str = "SG0606";

// Who may come in.
pub const TOKENS_REQUIRED: &str = "SG0611";
pub const NO_TOKEN: &str = "SG0612";
pub const INVALID_TOKEN: &str = "SG0613";
pub const HOSTS_MISSING: &str = "SG0614";

// What it names.
pub const PLUGIN_MISSING: &str = "SG0631";
pub const SECRET_MISSING: &str = "SG0632";

// The file itself.
pub const OTHER_NAME: &str = "SG0621";
