//! Finds Python once, and whether it is the one a plugin needs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// What the worker script needs.
const OLDEST: [u32; 2] = [3, 9];
/// A Python that does not answer within this long is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PROBE: &str = "import sys; print(sys.executable); print('.'.join(map(str, sys.version_info[:3])))";

#[derive(Clone, Debug, PartialEq)]
pub struct Interpreter {
    /// The program itself: wrappers such as pyenv's cost 60 ms at each start.
    pub path: PathBuf,
    pub version: Vec<u32>,
}

impl Interpreter {
    /// Asks `program` where it really is and which version it has.
    pub async fn find(program: &Path) -> Result<Interpreter, InvokeError> {
        let missing = |cause: String| {
            let message = format!("Python cannot be started from `{}`: {cause}", program.display());
            InvokeError::new(ErrorKind::Unavailable, message)
                .help("install Python 3.9 or later, for example with `apt install python3`")
        };
        let mut command = tokio::process::Command::new(program);
        command.args(["-I", "-S", "-c", PROBE]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(ANSWER_WITHIN, command.output()).await;
        let output = output.map_err(|_| missing("it does not answer".into()))?;
        let output = output.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing("there is no such program".into()),
            _ => missing(error.to_string()),
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let found = lines.next().zip(lines.next().and_then(parse_version));
        let Some((path, version)) = found.filter(|(path, _)| output.status.success() && !path.is_empty())
        else {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(missing(format!("it ended with {}: {}", output.status, said.trim())));
        };
        if version.as_slice() < OLDEST.as_slice() {
            return Err(missing(format!("it is version {}, too old", join(&version))));
        }
        Ok(Interpreter { path: path.into(), version })
    }

    /// Whether this Python is what a manifest's `requires.python` asks for.
    pub fn check(&self, requirement: &str) -> Result<(), InvokeError> {
        let unavailable = |message| InvokeError::new(ErrorKind::Unavailable, message);
        match satisfies(&self.version, requirement) {
            Some(true) => Ok(()),
            Some(false) => {
                let found = format!("{} at {}", join(&self.version), self.path.display());
                let message = format!("requires.python asks for `{requirement}`, and this is Python {found}");
                Err(unavailable(message).help("put another `python3` first in PATH"))
            }
            None => Err(unavailable(format!("requires.python `{requirement}` is not a version specifier"))),
        }
    }
}

fn parse_version(text: &str) -> Option<Vec<u32>> {
    text.trim().split('.').map(|part| part.parse().ok()).collect()
}

fn join(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// PEP 440 specifiers of plain release numbers, all of which must hold; `None`: it is not one.
fn satisfies(version: &[u32], requirement: &str) -> Option<bool> {
    let mut all = true;
    for part in requirement.split(',').map(str::trim) {
        let digits = part.find(|c: char| c.is_ascii_digit())?;
        let (operator, wanted) = part.split_at(digits);
        let (wanted, any) = match wanted.strip_suffix(".*") {
            Some(prefix) => (prefix, true),
            None => (wanted, false),
        };
        let wanted = parse_version(wanted)?;
        // 3.9 is 3.9.0; under `.*` only what is written counts.
        let length = if any { wanted.len() } else { wanted.len().max(version.len()) };
        let padded = |numbers: &[u32]| -> Vec<u32> {
            numbers.iter().copied().chain(std::iter::repeat(0)).take(length).collect()
        };
        let (have, want) = (padded(version), padded(&wanted));
        all &= match operator.trim() {
            "" | "==" | "===" => have == want,
            "!=" => have != want,
            ">=" => have >= want,
            ">" => have > want,
            "<=" => have <= want,
            "<" => have < want,
            "~=" if wanted.len() > 1 => have >= want && version.starts_with(&wanted[..wanted.len() - 1]),
            _ => return None,
        };
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_read_as_pep_440_says() {
        let version = [3, 11, 7];
        for (requirement, expected) in [
            (">=3.9", Some(true)),
            (">=3.9,<3.12", Some(true)),
            (">=3.12", Some(false)),
            ("==3.11.*", Some(true)),
            ("==3.11", Some(false)),
            ("!=3.11.*", Some(false)),
            ("~=3.9", Some(true)),
            ("~=3.10.2", Some(false)),
            ("~=3.11.2", Some(true)),
            ("<3.11.7", Some(false)),
            ("<=3.11.7", Some(true)),
            ("> 3.11", Some(true)),
            ("3.11.7", Some(true)),
            ("python3", None),
            (">=", None),
            ("~=3", None),
            ("", None),
        ] {
            assert_eq!(satisfies(&version, requirement), expected, "{requirement}");
        }
    }

    #[tokio::test]
    async fn an_absent_python_comes_with_help() {
        let error = Interpreter::find(Path::new("/no/such/python3")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("/no/such/python3"), "{error}");
        assert!(error.help.unwrap().contains("apt install python3"));
    }
}
