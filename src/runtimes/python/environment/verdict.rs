//! From what an installer said to which requirement failed, why, and what helps. pip and uv have no form for
//! programs for it: this reads the sentences that they have had for years, and falls back to their last error.

use super::wanted::Wanted;
use crate::package::diagnostic::quote;
use crate::package::requirements::normalized;

/// Why an installation failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The requirement, if it is known which.
    pub requirement: Option<String>,
    /// Lower case, names the requirement if that is known.
    pub message: String,
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NoSpace,
    Digest,
    NotLocked,
    Conflict,
    OtherPython,
    Build,
    Network,
    NotFound,
    Unreadable,
    BadFile,
}

struct Finding {
    cause: Cause,
    /// The requirement, as the installer calls it.
    culprit: Option<String>,
    why: String,
}

/// `machine`: what it was installed for, such as `Python 3.11 on linux x86_64`.
pub fn judge(lines: &[String], wanted: &Wanted, machine: &str) -> Verdict {
    let Some(finding) = find(lines) else {
        let last = lines.iter().rev().find(|line| is_error(line)).or(lines.last());
        let said = last.map_or("it said nothing", |line| line.trim());
        let message = format!("the requirements cannot be installed: {said}");
        return Verdict { requirement: None, message, help: general() };
    };
    let name = finding.culprit.as_deref().map(name_of);
    let asked = name.as_deref().and_then(|name| wanted.asked(name));
    let requirement = match (&finding.culprit, asked) {
        // With a lock the exact version says more than what was asked for.
        (Some(culprit), Some(_)) if culprit.contains(['=', '<', '>']) => Some(culprit.clone()),
        (_, Some(asked)) => Some(asked.text.clone()),
        (culprit, None) => culprit.clone(),
    };
    let shown = match (&requirement, asked) {
        (Some(requirement), Some(asked)) => {
            format!("requirement `{requirement}` ({}:{})", asked.file, asked.line)
        }
        (Some(requirement), None) => format!("requirement `{requirement}`"),
        (None, _) => "the requirements".to_owned(),
    };
    let (why, help) = explain(&finding, name.as_deref(), wanted, machine);
    Verdict { requirement, message: format!("{shown} cannot be installed: {why}"), help }
}

fn explain(finding: &Finding, name: Option<&str>, wanted: &Wanted, machine: &str) -> (String, String) {
    let why = finding.why.clone();
    let again = "run `spanglass plugin package PATH` again";
    match finding.cause {
        Cause::NoSpace => (why, "make room on the disk of the data folder; the next call tries again".to_owned()),
        Cause::Digest => (
            why,
            format!("if the index is to be trusted, remove requirements.lock and {again}; else find out who changed the file"),
        ),
        Cause::NotLocked => (why, format!("requirements.lock is not complete: remove it and {again}")),
        Cause::Conflict => (why, "loosen one of the versions in requirements.txt".to_owned()),
        Cause::OtherPython => (why, format!("this is {machine}: ask for another version, or put another `python3` first in PATH")),
        Cause::Build => (
            why,
            "it has no wheel for this Python and had to be built here: the log of the `prepare` span has what its \
             build said; ask for a version that has one, or build it yourself and put the wheel into wheels/"
                .to_owned(),
        ),
        Cause::Network => (
            why,
            "check the network, proxies and PIP_INDEX_URL or UV_DEFAULT_INDEX of the runner; \
             `spanglass plugin package --with-wheels PATH` makes a package that needs no network"
                .to_owned(),
        ),
        Cause::NotFound if wanted.is_offline() => {
            let held: Vec<&str> = wanted
                .wheels
                .iter()
                .filter(|wheel| wheel.name.as_ref().is_some_and(|wheel| Some(wheel.name.as_str()) == name))
                .map(|wheel| wheel.file_name.as_str())
                .collect();
            let why = match held.as_slice() {
                [] => "wheels/ does not hold it".to_owned(),
                held => format!("of wheels/ none of {} fits {machine}", held.join(", ")),
            };
            (why, "`spanglass plugin package --with-wheels PATH` fetches what fits the machine on which it runs; nothing but wheels/ is looked at where that exists".to_owned())
        }
        Cause::NotFound => (why, format!("check its name and version, and whether there is one for {machine}")),
        Cause::BadFile => (why, "fetch it anew with `spanglass plugin package --with-wheels PATH`, or ask for another version".to_owned()),
        Cause::Unreadable => (why, "write it as `name`, `name==1.2.3` or `name[extra]>=1,<2`".to_owned()),
    }
}

fn general() -> String {
    "the end of what the installer said is in this error; all of it is in the log of the `prepare` span"
        .to_owned()
}

fn find(lines: &[String]) -> Option<Finding> {
    let finding = |cause, culprit: Option<&str>, why: &str| {
        Some(Finding { cause, culprit: culprit.map(|text| text.trim().to_owned()), why: why.to_owned() })
    };
    if lines.iter().any(|line| line.contains("No space left on device") || line.contains("os error 28")) {
        return finding(Cause::NoSpace, None, "there is no space left on the disk");
    }
    for (index, line) in lines.iter().enumerate() {
        let next = || lines.get(index + 1).map_or("", |line| line.trim());
        let before = &lines[..index];
        let text = line.trim();
        // Digests.
        if text.contains("DO NOT MATCH THE HASHES") {
            let culprit = next().split(" from ").next();
            return finding(Cause::Digest, culprit, "its file has another digest than the lock says");
        }
        if let Some(culprit) = between(text, "Hash mismatch for `", "`") {
            return finding(Cause::Digest, Some(culprit), "its file has another digest than the lock says");
        }
        if text.contains("Hashes are required in --require-hashes mode")
            || text.contains("must have their versions pinned with ==")
        {
            let culprit =
                next().split([' ', '\t']).next().map(|word| word.split(" from ").next().unwrap_or(word));
            return finding(
                Cause::NotLocked,
                culprit,
                "something needs it, and the lock does not name it with a digest",
            );
        }
        for mark in [
            "but no trusted hash was provided for: ",
            "but none were provided for: ",
            "versions pinned with `==`, but found: ",
        ] {
            if let Some(culprit) = text.split_once(mark).map(|(_, rest)| rest.trim_matches('`')) {
                return finding(
                    Cause::NotLocked,
                    Some(culprit),
                    "something needs it, and the lock does not name it with a digest",
                );
            }
        }
        // pip.
        if let Some(rest) = text.split_once("Cannot install ").map(|(_, rest)| rest)
            && let Some((which, _)) = rest.split_once(" because these package versions have conflicting")
        {
            let culprit = which.split([',', ' ']).find(|word| !word.is_empty());
            return finding(
                Cause::Conflict,
                culprit,
                &format!("{which} contradict each other{}", reasons(&lines[index + 1..])),
            );
        }
        if let Some(culprit) = between(text, "ERROR: Package '", "'")
            && let Some((_, needs)) = text.split_once("requires a different Python: ")
        {
            return finding(Cause::OtherPython, Some(culprit), &format!("it needs another Python: {needs}"));
        }
        if let Some(rest) = text.strip_prefix("ERROR: No matching distribution found for ") {
            let culprit = rest.split(" (from ").next();
            if network_trouble(before) {
                return finding(Cause::Network, culprit, "no index could be reached");
            }
            let versions = before.iter().rev().find_map(|line| between(line, "(from versions: ", ")"));
            let other_pythons = before.iter().rev().find_map(|line| {
                line.split_once("Ignored the following versions that require a different python version: ")
            });
            return match (versions, other_pythons) {
                (None | Some("none"), Some((_, which))) => finding(
                    Cause::OtherPython,
                    culprit,
                    &format!("its versions need another Python: {}", cut(which)),
                ),
                (None | Some("none"), None) => finding(
                    Cause::NotFound,
                    culprit,
                    "there is no such package, or none for this Python and machine",
                ),
                (Some(versions), _) => finding(
                    Cause::NotFound,
                    culprit,
                    &format!("no version fits; there are {}", last_of(versions)),
                ),
            };
        }
        if let Some(culprit) = between(text, "ERROR: Invalid requirement: '", "'") {
            return finding(Cause::Unreadable, Some(culprit), "it cannot be read");
        }
        if let Some((culprit, _)) = text
            .strip_prefix("ERROR: ")
            .and_then(|rest| rest.split_once(" is not a supported wheel on this platform"))
        {
            return finding(Cause::NotFound, Some(culprit), "it is a wheel for another machine");
        }
        if text.contains("subprocess-exited-with-error")
            || text.starts_with("ERROR: Failed building wheel for")
        {
            return finding(Cause::Build, last_collected(before).as_deref(), "its build failed");
        }
        if let Some((culprit, why)) =
            text.strip_prefix("ERROR: ").and_then(|rest| rest.split_once(" has an invalid wheel"))
        {
            return finding(
                Cause::BadFile,
                Some(culprit),
                &format!("its wheel cannot be used: {}", cut(why.trim_start_matches([',', ':', ' ']))),
            );
        }
        if let Some(culprit) = between(text, "ERROR: Wheel '", "'") {
            return finding(Cause::BadFile, Some(culprit), "its wheel is damaged");
        }
        // uv.
        for mark in ["Failed to build `", "Failed to download and build `"] {
            if let Some(culprit) = between(text, mark, "`") {
                return finding(Cause::Build, Some(culprit), "its build failed");
            }
        }
        if text.contains("Failed to fetch: ") || text.contains("Request failed after") {
            let url = lines[index..].iter().find_map(|line| {
                Some(line.split_once("Failed to fetch: ")?.1.trim().trim_matches('`').to_owned())
            });
            let why = lines[index..]
                .iter()
                .rev()
                .find_map(|line| line.trim().strip_prefix("cause: "))
                .unwrap_or("no answer");
            let culprit = url.as_deref().map(|url| {
                url.trim_end_matches('/')
                    .rsplit('/')
                    .next()
                    .unwrap_or(url)
                    .split(".whl")
                    .next()
                    .unwrap_or_default()
            });
            let name = culprit
                .map(|file| file.split('-').next().unwrap_or(file).to_owned())
                .filter(|name| !name.is_empty());
            let host = url
                .as_deref()
                .and_then(|url| url.split_once("://"))
                .map_or("the index", |(_, rest)| rest.split('/').next().unwrap_or(rest));
            return finding(Cause::Network, name.as_deref(), &format!("{host} cannot be reached: {why}"));
        }
        if text.contains("No solution found when resolving") {
            return Some(unsolved(&lines[index + 1..]));
        }
        if let Some(culprit) = between(text, "Failed to download `", "`") {
            let rest = &lines[index + 1..];
            // A digest that is wrong is said in the line below.
            if rest.first().is_some_and(|line| line.contains("Hash mismatch for `")) {
                continue;
            }
            let mut causes = rest.iter().map_while(|line| line.trim().strip_prefix("cause: "));
            let why = causes.next().unwrap_or("it cannot be fetched");
            let file = ["wheel", "zip", "archive", "metadata"].iter().any(|word| why.contains(word));
            return finding(if file { Cause::BadFile } else { Cause::Network }, Some(culprit), cut(why));
        }
        if text.starts_with("error: Couldn't parse requirement") {
            return finding(
                Cause::Unreadable,
                None,
                &format!("one cannot be read: {}", next().trim_start_matches("cause: ")),
            );
        }
    }
    None
}

/// uv explains itself in sentences over several lines.
fn unsolved(lines: &[String]) -> Finding {
    let mut text = String::new();
    for line in lines.iter().take_while(|line| !line.trim().is_empty() && !line.starts_with("hint")) {
        let line = line.trim().trim_start_matches("cause: ").trim_start_matches("╰─▶ ");
        text = format!("{text} {line}");
    }
    let text = text.trim().to_owned();
    let absent =
        between(&text, "Because ", " was not found in").map(|name| (name, "there is no such package"));
    let absent = absent.or_else(|| {
        between(&text, "Because there is no version of ", " and")
            .map(|name| (name, "there is no such version"))
    });
    let absent = absent.or_else(|| {
        between(&text, "Because there are no versions of ", " and")
            .map(|name| (name, "there is no version of it"))
    });
    let no_wheel = || {
        between(&text, "Because ", " has no wheels")
            .map(|name| (name, "it has no wheel for this Python and machine"))
    };
    let (cause, culprit, why) = match absent.or_else(no_wheel) {
        Some((name, why)) => (Cause::NotFound, Some(name), why.to_owned()),
        None => {
            let culprit =
                between(&text, "Because ", " depends on").or_else(|| between(&text, "and you require ", ","));
            let cause = if text.contains("Python") { Cause::OtherPython } else { Cause::Conflict };
            // The last part says only that it does not work out.
            (
                cause,
                culprit,
                text.split(", we can conclude that your requirements").next().unwrap_or(&text).to_owned(),
            )
        }
    };
    Finding { cause, culprit: culprit.map(str::to_owned), why: cut(&why).to_owned() }
}

/// What pip lists below two that contradict each other.
fn reasons(lines: &[String]) -> String {
    let reasons: Vec<&str> = lines
        .iter()
        .map(|line| line.trim())
        .skip_while(|line| !line.starts_with("The conflict is caused by"))
        .skip(1)
        .take_while(|line| line.contains(" depends on ") || line.starts_with("The user requested"))
        .take(4)
        .collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// What pip worked on last.
fn last_collected(lines: &[String]) -> Option<String> {
    lines.iter().rev().find_map(|line| {
        let line = line.trim();
        let starts = ["Collecting ", "Building wheel for ", "Building wheels for collected packages: "];
        let named = starts.iter().find_map(|start| line.strip_prefix(start));
        let rest = match named {
            Some(rest) => rest,
            None => line.strip_prefix("Processing ")?.rsplit('/').next()?,
        };
        let rest = rest.split(" (").next()?;
        Some(rest.split([',', ' ']).next().unwrap_or(rest).to_owned())
    })
}

fn network_trouble(lines: &[String]) -> bool {
    let marks = [
        "Retrying (Retry(",
        "connection broken by",
        "Could not fetch URL",
        "Temporary failure in name resolution",
    ];
    lines.iter().any(|line| marks.iter().any(|mark| line.contains(mark)))
}

fn is_error(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    line.starts_with("error") || line.starts_with('×')
}

/// The name in `name[extra]==1.0` or in the name of a file.
fn name_of(text: &str) -> String {
    let text = text.trim().trim_matches(['`', '\'']);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
    let name = &text[..end];
    let archive = [".whl", ".tar.gz", ".zip"].iter().any(|ending| name.ends_with(ending));
    normalized(if archive { name.split('-').next().unwrap_or(name) } else { name })
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// The newest few of a long list.
fn last_of(versions: &str) -> String {
    const SHOWN: usize = 5;
    let all: Vec<&str> = versions.split(", ").collect();
    let shown = all[all.len().saturating_sub(SHOWN)..].join(", ");
    if all.len() > SHOWN { format!("{} versions up to {}", all.len(), quote(&shown)) } else { shown }
}

fn cut(text: &str) -> &str {
    crate::model::text::truncate(text, 400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::requirements::Requirements;

    fn wanted(requirements: &str, wheels: &[&str]) -> Wanted {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requirements.txt"), requirements).unwrap();
        std::fs::create_dir(folder.path().join("wheels")).unwrap();
        for wheel in wheels {
            std::fs::write(folder.path().join("wheels").join(wheel), "").unwrap();
        }
        assert!(Requirements::read(folder.path()).unwrap().is_some());
        Wanted::read(folder.path()).unwrap().unwrap()
    }

    /// What both installers said of the same mistakes: uv 0.13.8, pip 23.2.1.
    #[test]
    fn the_requirement_is_found_in_what_installers_say() {
        let requirements = "# ours\nAlpha==1.0\nbeta\nrequests==99\nurllib3==1.0\n";
        for (said, expected) in [
            (
                "error: No solution found when resolving dependencies\n  cause: Because nothere was not found in the package registry and you require nothere==2, we can conclude that your requirements are unsatisfiable.",
                "requirement `nothere` cannot be installed: there is no such package",
            ),
            (
                "error: No solution found when resolving dependencies\n  cause: Because there is no version of requests==99 and you require requests==99, we can conclude that your requirements are unsatisfiable.",
                "requirement `requests==99` (requirements.txt:4) cannot be installed: there is no such version",
            ),
            (
                "  × No solution found when resolving dependencies:\n  ╰─▶ Because requests was not found in the package registry and you require requests, we can conclude that your requirements are unsatisfiable.",
                "requirement `requests==99` (requirements.txt:4) cannot be installed: there is no such package",
            ),
            (
                "error: No solution found when resolving dependencies\n  cause: Because requests==2.31.0 depends on urllib3>=1.21.1,<3 and you require requests==2.31, we can conclude that you require urllib3>=1.21.1,<3.\n         And because you require urllib3==1.0, we can conclude that your requirements are unsatisfiable.",
                "requirement `requests==2.31.0` (requirements.txt:4) cannot be installed: Because requests==2.31.0 depends on urllib3>=1.21.1,<3 and you require requests==2.31, we can conclude that you require urllib3>=1.21.1,<3. And because you require urllib3==1.0",
            ),
            (
                "error: No solution found when resolving dependencies\n  cause: Because beta==1.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and only beta==1.0 is available, we can conclude that all versions of beta cannot be used.\n\nhint: You require CPython 3.11",
                "requirement `beta==1.0` (requirements.txt:3) cannot be installed: it has no wheel for this Python and machine",
            ),
            (
                "error: Failed to download `beta==1.2`\n  cause: Hash mismatch for `beta==1.2`\n\n         Expected:",
                "requirement `beta==1.2` (requirements.txt:3) cannot be installed: its file has another digest than the lock says",
            ),
            (
                "error: Failed to download `beta==1.2`\n  cause: The wheel is invalid: Multiple .dist-info directories found: Beta-1.2, beta-1.2",
                "requirement `beta==1.2` (requirements.txt:3) cannot be installed: The wheel is invalid: Multiple .dist-info directories found: Beta-1.2, beta-1.2",
            ),
            (
                "error: Hash-checking is required, but no trusted hash was provided for: `beta`",
                "requirement `beta` (requirements.txt:3) cannot be installed: something needs it, and the lock does not name it with a digest",
            ),
            (
                "error: Failed to build `badd==9.0`\n  cause: The build backend returned an error",
                "requirement `badd==9.0` cannot be installed: its build failed",
            ),
            (
                "error: Request failed after 3 retries in 10.2s\n  cause: Failed to fetch: http://127.0.0.1:1/simple/requests/\n  cause: error sending request for url (http://127.0.0.1:1/simple/requests/)\n  cause: client error (Connect)\n  cause: Connection refused (os error 111)",
                "requirement `requests==99` (requirements.txt:4) cannot be installed: 127.0.0.1:1 cannot be reached: Connection refused (os error 111)",
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If\n    alpha==1.0 from file:///p/wheels/alpha-1.0-py3-none-any.whl (from -r h.txt (line 1)):",
                "requirement `alpha==1.0` (requirements.txt:2) cannot be installed: its file has another digest than the lock says",
            ),
            (
                "ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==. These do not:\n    beta>=1 from file:///p/wheels/beta-1.2-py3-none-any.whl (from alpha==1.0->-r h3.txt (line 1))",
                "requirement `beta>=1` (requirements.txt:3) cannot be installed: something needs it, and the lock does not name it with a digest",
            ),
            (
                "WARNING: Retrying (Retry(total=0)) after connection broken by 'x'\nERROR: Could not find a version that satisfies the requirement requests==99 (from versions: none)\nERROR: No matching distribution found for requests==99",
                "requirement `requests==99` (requirements.txt:4) cannot be installed: no index could be reached",
            ),
            (
                "ERROR: Could not find a version that satisfies the requirement beta<1 (from versions: 1.2)\nERROR: No matching distribution found for beta<1",
                "requirement `beta<1` (requirements.txt:3) cannot be installed: no version fits; there are 1.2",
            ),
            (
                "ERROR: Ignored the following versions that require a different python version: 2.0 Requires-Python >=3.12\nERROR: Could not find a version that satisfies the requirement beta (from versions: none)\nERROR: No matching distribution found for beta",
                "requirement `beta` (requirements.txt:3) cannot be installed: its versions need another Python: 2.0 Requires-Python >=3.12",
            ),
            (
                "Collecting urllib3==1.0 (from -r r4 (line 2))\n  Getting requirements to build wheel: finished with status 'error'\n  error: subprocess-exited-with-error",
                "requirement `urllib3==1.0` (requirements.txt:5) cannot be installed: its build failed",
            ),
            (
                "ERROR: Cannot install alpha==1.0 and beta==0.1 because these package versions have conflicting dependencies.\n\nThe conflict is caused by:\n    alpha 1.0 depends on beta>=1\n    The user requested beta==0.1\n\nTo fix this",
                "requirement `alpha==1.0` (requirements.txt:2) cannot be installed: alpha==1.0 and beta==0.1 contradict each other (alpha 1.0 depends on beta>=1; The user requested beta==0.1)",
            ),
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
                "the requirements cannot be installed: there is no space left on the disk",
            ),
            (
                "something new\nERROR: nobody knows this\nlast",
                "the requirements cannot be installed: ERROR: nobody knows this",
            ),
            ("", "the requirements cannot be installed: it said nothing"),
        ] {
            let lines: Vec<String> = said.lines().map(str::to_owned).collect();
            let verdict = judge(&lines, &wanted(requirements, &[]), "Python 3.11 on linux-x86_64");
            assert_eq!(verdict.message, expected, "{said}");
            let named = expected.strip_prefix("requirement `").and_then(|rest| rest.split('`').next());
            assert_eq!(verdict.requirement.as_deref(), named, "{said}");
            assert!(verdict.help.len() > 20);
        }
    }

    #[test]
    fn with_wheels_it_is_said_what_they_hold() {
        let lines = ["ERROR: No matching distribution found for beta (from alpha)".to_owned()];
        let judge = |wheels: &[&str]| judge(&lines, &wanted("beta", wheels), "Python 3.11 on linux-x86_64");
        assert_eq!(
            judge(&["alpha-1-py3-none-any.whl"]).message,
            "requirement `beta` (requirements.txt:1) cannot be installed: wheels/ does not hold it"
        );
        assert_eq!(
            judge(&["beta-1-cp39-cp39-win_amd64.whl"]).message,
            "requirement `beta` (requirements.txt:1) cannot be installed: of wheels/ none of beta-1-cp39-cp39-win_amd64.whl fits Python 3.11 on linux-x86_64"
        );
    }
}
