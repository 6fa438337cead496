//! Every folder of `tests/cases/rewrite` holds a manifest (`before.yaml` or `before.json`), a change, and what
//! must come of it: a file (`after.…`), or the reason why nothing does (`refused.txt`). `SPANGLASS_BLESS=1`
//! writes the results anew.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use semver::Version;
use serde_json::{Value, json};
use spanglass::package::rewrite::{Expectation, append_example, set_expectations, set_version};
use spanglass::package::yaml;

/// `{"expect": [[index, value], …]}`, `{"append": value}` or `{"version": text}`.
fn change(file: &str, text: &str, change: &Value) -> Result<String, String> {
    let version = change.get("version").map(|version| Version::parse(version.as_str().unwrap()).unwrap());
    let changed = match (change.get("append"), &version) {
        (Some(example), _) => append_example(file, text, example),
        (None, Some(version)) => set_version(file, text, version),
        (None, None) => {
            let pairs = change["expect"].as_array().unwrap().iter();
            let changes: Vec<Expectation> = pairs
                .map(|pair| Expectation {
                    index: usize::try_from(pair[0].as_u64().unwrap()).unwrap(),
                    expect: pair[1].clone(),
                })
                .collect();
            set_expectations(file, text, &changes)
        }
    };
    changed.map_err(|error| error.to_string())
}

#[test]
fn every_change_keeps_the_rest() {
    let bless = std::env::var_os("SPANGLASS_BLESS").is_some();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/rewrite");
    let mut differing = Vec::new();
    let mut cases = 0;
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        cases += 1;
        let form = if folder.join("before.json").exists() { "json" } else { "yaml" };
        let file = format!("before.{form}");
        let text = fs::read_to_string(folder.join(&file)).unwrap();
        let wanted: Value =
            serde_json::from_str(&fs::read_to_string(folder.join("change.json")).unwrap()).unwrap();
        let (name, actual) = match change(&file, &text, &wanted) {
            Ok(text) => (format!("after.{form}"), text),
            Err(reason) => ("refused.txt".to_owned(), reason + "\n"),
        };
        let path = folder.join(name);
        if bless {
            fs::write(&path, &actual).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != actual {
            differing.push(format!("{}:\n{actual}", path.display()));
        }
    }
    assert!(cases >= 10, "only {cases} cases");
    assert!(differing.is_empty(), "{}\nSPANGLASS_BLESS=1 accepts these", differing.join("\n"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has none", |n| n.is_finite()).prop_map(Value::from),
        "\\PC{0,12}|[a-z:# \\-'\"\n\t\\[\\]{}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9: #\"-]{0,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever a plugin answers: block or flow, it reads as it was.
    #[test]
    fn any_output_can_be_written(output in any_json(), block in any::<bool>()) {
        let expect = if block { "\n      output:\n        a: 1 # gone\n" } else { " {output: 1} # kept\n" };
        let text = format!("name: a\nexamples:\n  - input: {{}}\n    expect:{expect}    name: x # kept\n");
        let wanted = json!({"output": output});
        let changed = set_expectations("m.yaml", &text, &[Expectation { index: 0, expect: wanted.clone() }]);
        let changed = changed.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(changed.contains("name: x # kept\n"), "{changed}");
        let (tree, _) = yaml::parse("m.yaml", changed.as_bytes());
        let written = tree.unwrap().to_json()["examples"][0]["expect"].clone();
        prop_assert_eq!(written.to_string().replace(".0", ""), wanted.to_string().replace(".0", ""));
    }
}
