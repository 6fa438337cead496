//! From the text of a manifest to the checked [`Manifest`]. The tree is walked by hand, key by key, so that
//! every mistake is reported at once; a part that is wrong is left at its default and reading goes on.

use semver::Version;

use crate::model::name::PluginName;

use super::codes;
use super::diagnostic::{Diagnostic, Diagnostics, Place, quote};
use super::manifest::Manifest;
use super::reader::{Field, Reader, Section};
use super::yaml::{self, Node};

mod dialect;
mod entry;
mod entrypoint;
mod examples;
mod later;
mod observe;
mod settings;
mod shape;
mod slo;

use dialect::DIALECT;

/// Names that a manifest may have, in the root of its package.
pub const MANIFEST_NAMES: [&str; 3] = ["manifest.yaml", "plugin.yaml", "plugin.json"];

/// All keys of a manifest.
pub const KEYS: &[&str] = &[
    "manifest_version",
    "name",
    "version",
    "description",
    "owner",
    "runtime",
    "entrypoint",
    "input",
    "input_schema",
    "output",
    "output_schema",
    "actions",
    "dependencies",
    "config",
    "config_schema",
    "secrets",
    "requires",
    "limits",
    "retry",
    "circuit_breaker",
    "permissions",
    "sandbox",
    "isolation",
    "start",
    "slo",
    "expect_every",
    "observe",
    "examples",
];

const VERSION_BYTES_MAX: usize = 128;

/// The files of a package, as far as a manifest can be wrong about them.
pub struct Files<'a> {
    pub names: &'a [String],
    /// Whether a file can be executed.
    pub is_program: &'a dyn Fn(&str) -> bool,
}

/// Reads a manifest. `file` is the name to show; with `files` it is checked that what the manifest names exists.
///
/// The manifest is there exactly if the diagnostics hold no error; they may hold warnings and notes with it.
pub fn read(file: &str, bytes: &[u8], files: Option<&Files<'_>>) -> (Option<Manifest>, Diagnostics) {
    let (root, mut diagnostics) = yaml::parse(file, bytes);
    let manifest = root.and_then(|root| manifest(&root, files, &mut diagnostics));
    let manifest = manifest.filter(|_| diagnostics.valid());
    (manifest, diagnostics)
}

fn manifest(root: &Node, files: Option<&Files<'_>>, diagnostics: &mut Diagnostics) -> Option<Manifest> {
    if root.as_map().is_none() {
        let message = format!("a manifest is a mapping of keys to values, not {}", root.describe());
        let problem = Diagnostic::error(codes::WRONG_TYPE, root.place, "", message);
        diagnostics.push(problem.help("it begins with lines such as `name: my-plugin` and `version: 1.0.0`"));
        return None;
    }
    let mut reader = Reader { diagnostics, dialect: &DIALECT };
    let whole = Field { node: root, key: Place::START, path: String::new() };
    let top = reader.section_or(&whole, KEYS, dialect::elsewhere)?;

    manifest_version(&mut reader, &top);
    let name = name(&mut reader, &top);
    let version = version(&mut reader, &top);
    let description = top.get("description").and_then(|field| reader.prose(&field, 4096));
    let owner = top.get("owner").and_then(|field| reader.prose(&field, 256));
    let entry = entry::read(&mut reader, &top, files);
    let input_schema = shape::input(&mut reader, &top);
    let output_schema = shape::output(&mut reader, &top);
    let (config, config_schema) = shape::config(&mut reader, &top);
    let secrets = secrets(&mut reader, &top);
    let requires = entry::requires(&mut reader, &top);
    let limits = settings::limits(&mut reader, &top);
    let retry = settings::retry(&mut reader, &top, limits.timeout);
    let breaker = settings::breaker(&mut reader, &top);
    let dependencies = later::dependencies(&mut reader, &top);
    let sandbox_min_tier = later::sandbox(&mut reader, &top);
    let (isolation, start) = settings::processes(&mut reader, &top);
    let slo = slo::slo(&mut reader, &top);
    let expect_every = slo::expect_every(&mut reader, &top);
    later::permissions(&mut reader, &top);
    let shapes = observe::Shapes::new(&top, input_schema.as_ref(), output_schema.as_ref());
    let observe = observe::observe(&mut reader, &top, &shapes);
    let examples =
        examples::read(&mut reader, &top, &entry.actions, input_schema.as_ref(), output_schema.as_ref());

    Some(Manifest {
        name: name?,
        version: version?,
        description,
        owner,
        runtime: entry.runtime?,
        entrypoint: entry.entrypoint?,
        actions: entry.actions,
        input_schema: input_schema.map(|schema| schema.document().clone()),
        output_schema: output_schema.map(|schema| schema.document().clone()),
        dependencies,
        config,
        config_schema,
        secrets,
        requires,
        limits,
        retry,
        breaker,
        sandbox_min_tier,
        isolation,
        start,
        slo,
        expect_every,
        observe,
        examples,
    })
}

fn manifest_version(reader: &mut Reader<'_>, top: &Section<'_>) {
    if let Some(field) = top.get("manifest_version")
        && field.node.to_json() != 1
    {
        let message = format!("`manifest_version` must be 1, not {}", field.node.describe());
        reader.error(codes::OTHER_BUILD, &field, message, "this build reads manifests of version 1");
    }
}

fn name(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<PluginName> {
    let field = reader.required(top, "name", "add a line such as `name: my-plugin`")?;
    let text = reader.verbatim(&field)?;
    match PluginName::parse(text) {
        Ok(name) => Some(name),
        Err(error) => {
            let help = match slug(text) {
                Some(slug) => format!("{error}; for example `{slug}`"),
                None => error.to_string(),
            };
            reader.error(codes::INVALID_NAME, &field, format!("{} is not a plugin name", quote(text)), help);
            None
        }
    }
}

/// The nearest valid name.
fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for character in text.chars().take(2 * PluginName::LENGTH_MAX) {
        match character.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.truncate(PluginName::LENGTH_MAX);
    let slug = slug.trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}

fn version(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<Version> {
    let field = reader.required(top, "version", "add a line such as `version: 1.0.0`")?;
    let text = reader.verbatim(&field)?;
    match Version::parse(text) {
        Ok(version) if text.len() <= VERSION_BYTES_MAX => Some(version),
        parsed => {
            let message = format!("{} is not a semantic version", quote(text));
            let help = match parsed.err().and_then(|_| whole_version(text)) {
                Some(whole) => format!("write MAJOR.MINOR.PATCH: `{whole}`"),
                None => "write MAJOR.MINOR.PATCH, such as `1.0.0` or `2.1.0-beta.1`".to_owned(),
            };
            reader.error(codes::INVALID_VERSION, &field, message, help);
            None
        }
    }
}

/// `v1.2` and `1.10` made whole.
fn whole_version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches(['v', 'V', '=']);
    let (numbers, rest) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let mut parts: Vec<String> =
        numbers.split('.').map(|part| part.trim_start_matches('0').to_owned()).take(3).collect();
    parts.resize(3, String::new());
    for part in &mut parts {
        if part.is_empty() {
            part.push('0');
        }
    }
    if !numbers.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Version::parse(&format!("{}{rest}", parts.join("."))).ok()
}

fn secrets(reader: &mut Reader<'_>, top: &Section<'_>) -> Vec<String> {
    const SECRETS_MAX: usize = 100;
    let Some(field) = top.get("secrets") else { return Vec::new() };
    if field.node.as_map().is_some() {
        let message = "`secrets` is a list of names; values never stand in a manifest";
        let help = "write `secrets: [API_TOKEN]`; the operator gives the values in spanglass.yaml";
        reader.error(codes::WRONG_TYPE, &field, message, help);
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for item in reader.list(&field, SECRETS_MAX) {
        let Some(name) = reader.text(&item) else { continue };
        let fits = name.len() <= 128
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits {
            let message = format!("{} is not a name of a secret", quote(name));
            let help =
                "names have letters, digits and _, such as `API_TOKEN`; values never stand in a manifest";
            reader.error(codes::INVALID_NAME, &item, message, help);
        } else if names.iter().any(|known| known == name) {
            reader.error(
                codes::REPEATED,
                &item,
                format!("the secret {} is listed twice", quote(name)),
                "remove one",
            );
        } else {
            names.push(name.to_owned());
        }
    }
    names
}
