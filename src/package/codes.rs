//! The codes of diagnostics. A code is stable and is never given to something else; `docs/manifest.md` lists them.

// The text itself.
pub const SYNTAX: &str = "SG0101";
pub const NOT_UTF8: &str = "SG0102";
pub const TOO_LARGE: &str = "SG0103";
pub const CONTROL_CHARACTER: &str = "SG0104";
pub const TOO_DEEP: &str = "SG0105";
pub const TOO_MUCH: &str = "SG0106";
pub const DUPLICATE_KEY: &str = "SG0107";
pub const MERGE_KEY: &str = "SG0108";
pub const EMPTY: &str = "SG0109";
pub const MANY_DOCUMENTS: &str = "SG0110";
pub const TAG: &str = "SG0111";
pub const NUMBER: &str = "SG0112";
pub const KEY: &str = "SG0113";

// What it says.
pub const UNKNOWN_KEY: &str = "SG0201";
pub const MISSING_KEY: &str = "SG0202";
pub const WRONG_TYPE: &str = "SG0203";
pub const INVALID_NAME: &str = "SG0204";
pub const INVALID_VERSION: &str = "SG0205";
pub const INVALID_REQUIREMENT: &str = "SG0206";
pub const INVALID_SIZE: &str = "SG0207";
pub const INVALID_DURATION: &str = "SG0208";
pub const OUT_OF_RANGE: &str = "SG0209";
pub const UNKNOWN_CHOICE: &str = "SG0210";
pub const CONTRADICTION: &str = "SG0211";
pub const RUNTIME_MISSING: &str = "SG0212";
pub const INVALID_ENTRYPOINT: &str = "SG0213";
pub const FILE_MISSING: &str = "SG0214";
pub const UNKNOWN_TYPE: &str = "SG0215";
pub const INVALID_SCHEMA: &str = "SG0216";
pub const CONFIG_UNFIT: &str = "SG0217";
pub const REPEATED: &str = "SG0218";
pub const OTHER_BUILD: &str = "SG0219";
pub const INVALID_VALUE: &str = "SG0220";

// What will surprise.
pub const EXAMPLE_UNFIT: &str = "SG0301";
pub const SANDBOX_MISSING: &str = "SG0302";
pub const UNREACHABLE: &str = "SG0303";
pub const KEYWORD_IGNORED: &str = "SG0304";
pub const NOT_OBSERVED: &str = "SG0305";

// What is only said.
pub const NO_EFFECT: &str = "SG0401";
pub const OBJECTIVE: &str = "SG0402";

// The package around it.
pub const NOT_READABLE: &str = "SG0501";
pub const NO_MANIFEST: &str = "SG0502";
pub const TWO_MANIFESTS: &str = "SG0503";
pub const NOT_A_ZIP: &str = "SG0504";
pub const BAD_NAME: &str = "SG0505";
pub const COLLISION: &str = "SG0506";
pub const NOT_A_FILE: &str = "SG0507";
pub const UNSUPPORTED: &str = "SG0508";
pub const PACKAGE_TOO_LARGE: &str = "SG0509";
pub const FORGED: &str = "SG0510";
pub const CHANGED: &str = "SG0511";
pub const EXISTS: &str = "SG0512";
pub const REQUIREMENTS: &str = "SG0513";
