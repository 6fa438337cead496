//! Every folder of `tests/cases/manifest` holds a manifest and what must be said about it, for programs
//! (`expect.json`) and for people (`expect.txt`). `SPANGLASS_BLESS=1` writes the expectations anew.
//!
//! A file `files.txt` lists the other files of the package; without it nothing is looked up. All of them are
//! programs, but for those in `.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use spanglass::package::diagnostic::{Diagnostics, Style};
use spanglass::package::manifest_schema;
use spanglass::package::read::{self, Files, MANIFEST_NAMES};
use spanglass::package::schema::Schema;
use spanglass::package::yaml;

struct Case {
    folder: PathBuf,
    name: &'static str,
    bytes: Vec<u8>,
    files: Option<Vec<String>>,
}

impl Case {
    fn all() -> Vec<Case> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifest");
        let mut folders: Vec<PathBuf> =
            fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders.into_iter().map(Case::open).collect()
    }

    fn open(folder: PathBuf) -> Case {
        let name = MANIFEST_NAMES.into_iter().find(|name| folder.join(name).exists());
        let name = name.unwrap_or_else(|| panic!("{} has no manifest", folder.display()));
        let bytes = fs::read(folder.join(name)).unwrap();
        let files = fs::read_to_string(folder.join("files.txt")).ok();
        let files = files.map(|list| {
            let mut files: Vec<String> = list.lines().map(str::to_owned).collect();
            files.sort();
            files
        });
        Case { folder, name, bytes, files }
    }

    fn diagnostics(&self) -> Diagnostics {
        let is_program = |name: &str| !name.ends_with(".txt");
        let files = self.files.as_ref().map(|names| Files { names, is_program: &is_program });
        let (manifest, diagnostics) = read::read(self.name, &self.bytes, files.as_ref());
        assert_eq!(manifest.is_some(), diagnostics.valid(), "{}", self.folder.display());
        diagnostics
    }
}

#[test]
fn every_manifest_gets_the_expected_diagnostics() {
    let bless = std::env::var_os("SPANGLASS_BLESS").is_some();
    let mut differing = Vec::new();
    let cases = Case::all();
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    for case in cases {
        let diagnostics = case.diagnostics();
        let json = serde_json::to_string_pretty(&diagnostics.to_json()).unwrap() + "\n";
        let text = diagnostics.render(Style::default());
        for (name, actual) in [("expect.json", json), ("expect.txt", text)] {
            let path = case.folder.join(name);
            if bless {
                fs::write(&path, &actual).unwrap();
            } else if fs::read_to_string(&path).unwrap_or_default() != actual {
                differing.push(format!("{}:\n{actual}", path.display()));
            }
        }
    }
    assert!(differing.is_empty(), "{}\nSPANGLASS_BLESS=1 accepts these", differing.join("\n"));
}

/// The schema is for editors. What it refuses the reader must refuse, and what it accepts can only be refused
/// for reasons that a schema cannot see.
#[test]
fn schema_and_reader_agree() {
    // Relations between values, other files, this build's version, the text's form, free-form schemas.
    const BEYOND_A_SCHEMA: &[&str] = &[
        "SG0205", "SG0206", "SG0209", "SG0211", "SG0214", "SG0216", "SG0217", "SG0218", "SG0219", "SG0213",
        "SG0212",
    ];
    let schema = Schema::compile(manifest_schema::document()).unwrap();
    for case in Case::all() {
        let (Some(tree), text_problems) = yaml::parse(case.name, &case.bytes) else { continue };
        if !text_problems.valid() {
            continue;
        }
        let diagnostics = case.diagnostics();
        let by_schema = schema.check(&tree.to_json());
        let place = case.folder.display();
        match by_schema {
            Err(errors) => assert!(!diagnostics.valid(), "{place}: only the schema refuses it: {errors:?}"),
            Ok(()) => {
                let list = diagnostics.to_json();
                let unseen = list["diagnostics"].as_array().unwrap().iter().find(|one: &&Value| {
                    one["severity"] == "error" && !BEYOND_A_SCHEMA.contains(&one["code"].as_str().unwrap())
                });
                assert_eq!(unseen, None, "{place}: only the reader refuses it");
            }
        }
    }
}

#[test]
fn the_reference_explains_every_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = fs::read_to_string(root.join("docs/manifest.md")).unwrap();
    let codes = fs::read_to_string(root.join("src/package/codes.rs")).unwrap();
    let codes: Vec<&str> = codes.split('"').filter(|part| part.starts_with("SG0")).collect();
    assert!(codes.len() > 40);
    for code in codes {
        assert_eq!(reference.matches(&format!("| {code} |")).count(), 1, "{code}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_reader_or_picture_panic(text in "(name: |version: |input:|limits:|\\PC|[-{}\\[\\],:#&*!|>'\"%@`\n\r\t ~?\u{1b}\u{202e}é]){0,80}") {
        for name in ["manifest.yaml", "plugin.json"] {
            let (manifest, diagnostics) = read::read(name, text.as_bytes(), Some(&Files { names: &[], is_program: &|_| false }));
            prop_assert_eq!(manifest.is_some(), diagnostics.valid());
            for color in [false, true] {
                diagnostics.render(Style { color, width: 60 });
            }
        }
    }

    #[test]
    fn no_byte_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_, diagnostics) = read::read("manifest.yaml", &bytes, None);
        diagnostics.render(Style::default());
    }

    #[test]
    fn no_damage_to_a_manifest_makes_the_reader_panic(at in 0usize..1000, with in any::<char>(), cut in 0usize..40) {
        let full = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifest/full/manifest.yaml")).unwrap();
        let start = full.floor_char_boundary(at);
        let end = full.ceil_char_boundary((start + cut).min(full.len()));
        let damaged = format!("{}{with}{}", &full[..start], &full[end..]);
        let (_, diagnostics) = read::read("manifest.yaml", damaged.as_bytes(), None);
        diagnostics.render(Style::default());
    }
}
