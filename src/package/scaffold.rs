//! `plugin new`: the files of a first plugin, which work as they are.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::model::name::PluginName;

use super::error::PackageError;
use super::manifest::RuntimeKind;

/// One file of a new plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaffoldFile {
    /// Relative to the plugin's folder.
    pub path: &'static str,
    pub content: String,
}

/// The files of a new plugin.
pub fn files(name: &PluginName, runtime: RuntimeKind) -> Vec<ScaffoldFile> {
    match runtime {
        RuntimeKind::Python => vec![
            ScaffoldFile { path: "manifest.yaml", content: PYTHON_MANIFEST.replace("{name}", name.as_str()) },
            ScaffoldFile { path: "executor.py", content: PYTHON_EXECUTOR.to_owned() },
            ScaffoldFile { path: "tests/test_executor.py", content: PYTHON_TESTS.to_owned() },
            ScaffoldFile { path: "pytest.ini", content: PYTEST_SETTINGS.to_owned() },
            ScaffoldFile { path: ".gitignore", content: GIT_IGNORE.to_owned() },
            ScaffoldFile { path: "README.md", content: PYTHON_README.replace("{name}", name.as_str()) },
        ],
        RuntimeKind::Process => vec![
            ScaffoldFile { path: "manifest.yaml", content: NODE_MANIFEST.replace("{name}", name.as_str()) },
            ScaffoldFile { path: "main.js", content: NODE_MAIN.to_owned() },
            ScaffoldFile { path: "spanglass.js", content: NODE_HELPER.to_owned() },
            ScaffoldFile { path: "README.md", content: NODE_README.replace("{name}", name.as_str()) },
        ],
    }
}

/// Writes a new plugin into the folder `parent/NAME` and returns that folder and its files.
///
/// # Errors
/// [`PackageError::Exists`] if the folder is there already and not empty; nothing is overwritten then.
pub fn write(
    parent: &Path,
    name: &PluginName,
    runtime: RuntimeKind,
) -> Result<(PathBuf, Vec<PathBuf>), PackageError> {
    let folder = parent.join(name.as_str());
    fs::create_dir_all(&folder).map_err(PackageError::writing(&folder))?;
    let occupied = fs::read_dir(&folder).map_err(PackageError::reading(&folder))?.next().is_some();
    if occupied {
        return Err(PackageError::Exists { path: folder });
    }
    let mut written = Vec::new();
    for file in files(name, runtime) {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PackageError::writing(parent))?;
        }
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(PackageError::writing(&path))?;
        target.write_all(file.content.as_bytes()).map_err(PackageError::writing(&path))?;
        written.push(path);
    }
    Ok((folder, written))
}

const PYTHON_MANIFEST: &str = "\
# For completion in editors run `spanglass plugin schema > ../manifest.schema.json` and begin this file with
# the line `# yaml-language-server: $schema=../manifest.schema.json`.
name: {name}
version: 0.1.0
description: Greets people
runtime: python
entrypoint: executor.py:invoke

# Field -> type, as the function in executor.py has them: `python -m spanglass schema executor.py` prints this.
input:
  who: string
  times: {type: integer, default: 1, optional: true}
output:
  greeting: string

limits: {timeout: 10s}

# `spanglass plugin test` runs these; with --update it writes what came as what is expected.
examples:
  - name: one
    input: {who: Ada}
    expect: {output: {greeting: Hello Ada!}}
  - name: three
    input: {who: Grace, times: 3}
    expect: {output: {greeting: Hello Grace! Hello Grace! Hello Grace!}}
  - name: nobody
    input: {}
    expect: {error: {kind: invalid_input}}
";

const PYTHON_EXECUTOR: &str = r#"from dataclasses import dataclass

import spanglass


@dataclass
class Greeting:
    greeting: str


@spanglass.action
def invoke(who: str, times: int = 1, *, ctx: spanglass.Context) -> Greeting:
    """Greets somebody."""
    ctx.log.info("greeting", who=who, times=times)
    return Greeting(" ".join([f"Hello {who}!"] * times))
"#;

const PYTHON_TESTS: &str = r#"import pytest
import spanglass

from executor import invoke


def test_it_greets_as_often_as_asked(run_plugin):
    ran = run_plugin(invoke, who="Ada", times=2)
    assert ran.result == {"greeting": "Hello Ada! Hello Ada!"}
    assert ran.logs[0]["fields"] == {"who": "Ada", "times": 2}


def test_somebody_must_be_named(run_plugin):
    with pytest.raises(spanglass.InvalidInput, match="/who"):
        run_plugin(invoke)
"#;

const PYTEST_SETTINGS: &str = "\
[pytest]
pythonpath = .
testpaths = tests
";

const GIT_IGNORE: &str = "\
__pycache__/
.pytest_cache/
.spanglass/
*.zip
";

const PYTHON_README: &str = "\
# {name}

- `executor.py` holds the code, `manifest.yaml` what goes in and comes out, limits and examples.
- `spanglass plugin test .` runs the examples, `pytest` what is in `tests/`; that needs the Python package `spanglass`.
- `spanglass plugin register .`, then `spanglass invoke {name} -f who=Ada`.
";

const NODE_MANIFEST: &str = "\
name: {name}
version: 0.1.0
description: Greets people
runtime: process
# JavaScript runs under node; any other executable of the package may stand here, too.
entrypoint: ./main.js

# Field -> type. `?` makes a field optional, `[]` a list.
input: {who: string, times: integer?}
output: {greeting: string}

limits: {timeout: 10s}

# `spanglass plugin test` runs these.
examples:
  - name: one
    input: {who: Ada}
    expect: {output: {greeting: Hello Ada!}}
  - name: three
    input: {who: Grace, times: 3}
    expect: {output: {greeting: Hello Grace! Hello Grace! Hello Grace!}}
  - name: nobody
    input: {}
    expect: {error: {kind: invalid_input}}
";

const NODE_MAIN: &str = "\
'use strict';

const { serve } = require('./spanglass.js');

// Gets the input, which fits `input` of manifest.yaml; returns the output.
function invoke({ who, times }, ctx) {
  ctx.log.info('greeting', { who, times: times || 1 });
  return { greeting: Array(times || 1).fill(`Hello ${who}!`).join(' ') };
}

serve({ invoke });
";

const NODE_HELPER: &str = include_str!("../../plugins/logger/bin/spanglass.js");

const NODE_README: &str = "\
# {name}

```
spanglass plugin validate .
spanglass plugin test .
spanglass plugin register .
spanglass invoke {name} -f who=Ada
```

`main.js` holds the code, `manifest.yaml` what goes in and comes out, limits and examples. `spanglass.js` speaks the
worker protocol. In another language name another executable: it has to speak that protocol itself.
";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::package::Package;
    use crate::package::manifest::ExpectShape;
    use crate::package::schema::Schema;

    fn greet() -> PluginName {
        PluginName::parse("greet").unwrap()
    }

    #[test]
    fn a_new_plugin_is_valid_and_says_nothing_odd() {
        for runtime in RuntimeKind::ALL {
            valid_and_nothing_odd(*runtime);
        }
    }

    fn valid_and_nothing_odd(runtime: RuntimeKind) {
        let parent = TempDir::new().unwrap();
        let (folder, files) = write(parent.path(), &greet(), runtime).unwrap();
        assert!(files.len() >= 4);
        let package = Package::load(&folder).unwrap();
        assert_eq!(package.manifest.runtime, runtime);
        assert_eq!(package.manifest.name, greet());
        assert!(package.diagnostics.is_empty(), "{:?}", package.diagnostics);
        let output = Schema::compile(Arc::clone(package.manifest.output_schema.as_ref().unwrap())).unwrap();
        for example in &package.manifest.examples {
            if let Some(ExpectShape::Output(value)) = example.expect.as_ref().map(|expect| &expect.shape) {
                assert_eq!(output.check(value), Ok(()));
            }
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let parent = TempDir::new().unwrap();
        fs::create_dir(parent.path().join("greet")).unwrap();
        fs::write(parent.path().join("greet/notes.txt"), "mine").unwrap();
        let error = write(parent.path(), &greet(), RuntimeKind::Python).unwrap_err();
        assert!(matches!(error, PackageError::Exists { .. }));
        assert_eq!(fs::read_dir(parent.path().join("greet")).unwrap().count(), 1);
    }
}
