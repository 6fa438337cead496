use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::package::codes as common;
use crate::package::yaml;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A folder with files, and what else there is to say.
struct Place {
    folder: tempfile::TempDir,
    flags: Flags,
    environment: BTreeMap<&'static str, OsString>,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Place { folder, flags: Flags::default(), environment: BTreeMap::new() }
    }

    fn load(&self) -> Result<(Settings, Report), ConfigError> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let folder = self.folder.path().to_owned();
        load(&Sources { flags: self.flags.clone(), environment: &environment, folder })
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("{}", error.0.render(Default::default()))).0
    }

    fn report(&self) -> Report {
        match self.load() {
            Ok((_, report)) => report,
            Err(error) => *error.0,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

fn codes_of(report: &Report) -> Vec<&'static str> {
    report.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn with_nothing_said_everything_is_at_its_default() {
    let place = Place::new(&[]);
    let (settings, report) = place.load().unwrap();
    assert!(report.is_empty(), "{report}");
    assert_eq!(settings.listen.as_str(), "127.0.0.1:7717");
    assert_eq!(settings.data_dir, place.at(".spanglass"));
    assert_eq!((settings.plugin_dirs.len(), settings.tokens.len(), settings.allowed_hosts.len()), (0, 0, 0));
    assert_eq!((settings.logs, settings.file), (Logs::Default, None));
    assert_eq!(settings.origins.listen, Origin::Default);
}

#[test]
fn listen_flag_over_environment_over_file_over_default() {
    let mut place = Place::new(&[]);
    assert_eq!(place.settings().listen.port(), 7717);
    fs::write(place.at("spanglass.yaml"), "listen: localhost:1").unwrap();
    assert_eq!(place.settings().listen.port(), 1);
    place.environment.insert("SPANGLASS_LISTEN", "localhost:2".into());
    let settings = place.settings();
    assert_eq!((settings.listen.port(), settings.origins.listen), (2, Origin::Variable("SPANGLASS_LISTEN")));
    place.flags.listen = Some("localhost:3".into());
    let settings = place.settings();
    assert_eq!((settings.listen.port(), settings.origins.listen), (3, Origin::Flag("--listen")));
}

#[test]
fn data_dir_flag_over_environment_over_file_over_default() {
    let mut place = Place::new(&[]);
    assert_eq!(place.settings().data_dir, place.at(".spanglass"));
    fs::write(place.at("spanglass.yaml"), "data_dir: ./file").unwrap();
    assert_eq!(place.settings().data_dir, place.at("file"));
    place.environment.insert("SPANGLASS_DATA_DIR", "variable".into());
    assert_eq!(place.settings().data_dir, place.at("variable"));
    place.flags.data_dir = Some("/flag".into());
    assert_eq!(place.settings().data_dir, Path::new("/flag"));
}

#[test]
fn plugin_dirs_flag_over_file_over_default() {
    let mut place = Place::new(&[]);
    assert!(place.settings().plugin_dirs.is_empty());
    fs::write(place.at("spanglass.yaml"), "plugin_dirs: [a, /b]").unwrap();
    assert_eq!(place.settings().plugin_dirs, [place.at("a"), "/b".into()]);
    place.flags.plugin_dirs = vec!["c".into()];
    let settings = place.settings();
    assert_eq!(
        (settings.plugin_dirs, settings.origins.plugin_dirs),
        (vec![place.at("c")], Origin::Flag("--plugins"))
    );
}

#[test]
fn token_file_flag_over_environment_over_file_over_default() {
    let token = |digit: &str| digit.repeat(16);
    let (one, two, three) = (token("1"), token("2"), token("3"));
    let mut place = Place::new(&[("1", &one), ("2", &two), ("3", &three)]);
    assert!(place.settings().tokens.is_empty());
    fs::write(place.at("spanglass.yaml"), "token_file: 1").unwrap();
    assert_eq!(place.settings().tokens[0].reveal(), one);
    place.environment.insert("SPANGLASS_TOKEN_FILE", "2".into());
    assert_eq!(place.settings().tokens[0].reveal(), two);
    place.flags.token_file = Some("3".into());
    let settings = place.settings();
    assert_eq!((settings.tokens[0].reveal(), settings.token_file), (&*three, Some(place.at("3"))));
}

#[test]
fn config_flag_over_environment_over_current_folder() {
    let mut place =
        Place::new(&[("spanglass.yaml", "listen: :1"), ("a.yaml", "listen: :2"), ("b.yaml", "listen: :3")]);
    assert_eq!(place.settings().listen.port(), 1);
    place.environment.insert("SPANGLASS_CONFIG", "a.yaml".into());
    assert_eq!(place.settings().listen.port(), 2);
    place.flags.config = Some("b.yaml".into());
    let settings = place.settings();
    assert_eq!((settings.listen.port(), settings.file), (3, Some(place.at("b.yaml"))));
}

#[test]
fn paths_of_the_file_begin_at_the_file_and_others_at_the_current_folder() {
    let text = "data_dir: data\ntoken_file: ../tokens\nplugins: {a: {path: a, secrets: {S: {file: s}}}}\n\
                telemetry: {logs: ./out.log}";
    let mut place = Place::new(&[("etc/spanglass.yaml", text), ("tokens", TOKEN)]);
    place.flags.config = Some("etc/spanglass.yaml".into());
    place.flags.plugin_dirs = vec!["plugins".into()];
    let settings = place.settings();
    assert_eq!(settings.data_dir, place.at("etc/data"));
    assert_eq!(settings.token_file, Some(place.at("etc/../tokens")));
    assert_eq!(settings.plugin_dirs, [place.at("plugins")]);
    assert_eq!(settings.host.plugins["a"].path, Some(place.at("etc/a")));
    assert_eq!(settings.logs, Logs::Path(place.at("etc/out.log")));
}

#[test]
fn an_empty_variable_is_unset_and_an_empty_flag_is_wrong() {
    let mut place = Place::new(&[]);
    for name in ["SPANGLASS_LISTEN", "SPANGLASS_CONFIG", "SPANGLASS_DATA_DIR", "SPANGLASS_TOKEN_FILE"] {
        place.environment.insert(name, "".into());
    }
    assert_eq!(place.settings().listen, ListenAddress::default());
    // As a parser of command lines hands it on.
    place.flags.listen = Some(String::new());
    assert_eq!(place.settings().listen, ListenAddress::default());
    place.environment.clear();
    place.flags.data_dir = Some("".into());
    assert_eq!(codes_of(&place.report()), [codes::INVALID_PATH, codes::INVALID_ADDRESS]);
}

#[test]
fn a_variable_that_came_as_a_flag_is_still_the_variable() {
    let mut place = Place::new(&[]);
    place.environment.insert("SPANGLASS_LISTEN", "nonsense".into());
    place.flags.listen = Some("nonsense".into());
    let report = place.report();
    assert_eq!(report.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["SPANGLASS_LISTEN"]);
}

#[cfg(unix)]
#[test]
fn a_path_need_not_be_text_but_an_address_must() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(vec![b'a', 0xff]);
    let mut place = Place::new(&[]);
    place.environment.insert("SPANGLASS_DATA_DIR", odd.clone());
    let settings = place.settings();
    assert_eq!(settings.data_dir, place.folder.path().join(&odd));
    assert!(show(&settings)["settings"]["data_dir"].is_string());
    place.environment.insert("SPANGLASS_LISTEN", odd);
    assert_eq!(codes_of(&place.report()), [codes::NOT_UNICODE]);
}

#[test]
fn a_named_file_that_is_missing_is_blamed_on_who_named_it() {
    let mut place = Place::new(&[]);
    place.environment.insert("SPANGLASS_CONFIG", "absent.yaml".into());
    let said = |place: &Place| place.report().iter().map(|d| d.message.clone()).collect::<Vec<_>>();
    let reason = "names absent.yaml, which cannot be read: no such file or directory";
    assert_eq!(said(&place), [format!("`SPANGLASS_CONFIG` {reason}")]);
    place.flags.config = Some("absent.yaml".into());
    place.environment.clear();
    place.flags.listen = Some("0.0.0.0:1".into());
    // Not that there is no token: the file may have named one.
    assert_eq!(said(&place)[0], format!("`--config` {reason}"));
    assert!(!codes_of(&place.report()).contains(&codes::TOKENS_REQUIRED));
    place.flags.config = Some(".".into());
    assert!(said(&place)[0].ends_with("is a directory"), "{:?}", said(&place));
}

#[test]
fn problems_of_all_sources_come_at_once() {
    let mut place = Place::new(&[("spanglass.yaml", "listn: x\nplugin_dirs: [~/a]\n"), ("tokens", "short")]);
    place.flags.listen = Some("7717".into());
    place.environment.insert("SPANGLASS_DATA_DIR", "~/data".into());
    place.environment.insert("SPANGLASS_TOKEN_FILE", "tokens".into());
    let report = place.report();
    let tokens = place.at("tokens").display().to_string();
    assert_eq!(
        report.to_string(),
        format!("command line: 1 error; environment: 1 error; spanglass.yaml: 2 errors; {tokens}: 1 error")
    );
    let json = report.to_json();
    assert_eq!(json["valid"], false);
    let places: Vec<(&Value, &Value)> =
        json["diagnostics"].as_array().unwrap().iter().map(|d| (&d["line"], &d["path"])).collect();
    let expected = [
        (Value::Null, "--listen"),
        (Value::Null, "SPANGLASS_DATA_DIR"),
        (1.into(), "listn"),
        (2.into(), "plugin_dirs[0]"),
        (1.into(), ""),
    ];
    for ((line, path), (expected_line, expected_path)) in places.iter().zip(&expected) {
        assert_eq!((*line, path.as_str().unwrap()), (expected_line, *expected_path));
    }
    assert_eq!(places.len(), expected.len());
    let pictured = report.render(Default::default());
    assert!(pictured.contains("did you mean `listen`?") && pictured.contains("`--listen` is"), "{pictured}");
}

#[test]
fn off_loopback_a_token_is_required() {
    let mut place = Place::new(&[("tokens", TOKEN), ("empty", "# none yet\n")]);
    for listen in ["0.0.0.0:7717", "[::]:0", "spanglass.internal:7717"] {
        place.flags.listen = Some(listen.into());
        place.flags.token_file = None;
        assert_eq!(codes_of(&place.report()), [codes::TOKENS_REQUIRED, codes::HOSTS_MISSING], "{listen}");
        place.flags.token_file = Some("empty".into());
        assert_eq!(codes_of(&place.report()), [codes::NO_TOKEN, codes::HOSTS_MISSING], "{listen}");
        place.flags.token_file = Some("tokens".into());
        assert_eq!(place.settings().tokens.len(), 1);
    }
}

#[test]
fn what_is_too_much_or_no_text_is_refused() {
    let mut place = Place::new(&[]);
    fs::write(place.at("spanglass.yaml"), "#".repeat(yaml::INPUT_BYTES_MAX + 1)).unwrap();
    assert_eq!(codes_of(&place.report()), [common::TOO_LARGE]);
    fs::write(place.at("spanglass.yaml"), b"listen: \xff").unwrap();
    assert_eq!(codes_of(&place.report()), [common::NOT_UTF8]);
    fs::write(place.at("spanglass.yaml"), "listen: \u{7}").unwrap();
    assert_eq!(codes_of(&place.report()), [common::CONTROL_CHARACTER]);
    fs::write(place.at("spanglass.yaml"), "").unwrap();
    assert!(place.report().is_empty());
    fs::write(place.at("tokens"), "0123456789abcdef\n".repeat(5_000)).unwrap();
    place.flags.token_file = Some("tokens".into());
    assert_eq!(codes_of(&place.report()), [common::TOO_LARGE]);
    let many: String = (0..1_000).map(|number| format!("k{number}: 1\n")).collect();
    fs::write(place.at("spanglass.yaml"), many).unwrap();
    assert!(place.report().to_string().contains("900 more left out"), "{}", place.report());
}

#[test]
fn secrets_that_were_written_are_shown_nowhere() {
    let secret = "hunter2hunter2";
    let texts = [
        "plugins: {a: {secrets: {K: hunter2hunter2}}}",
        "plugins:\n  a:\n    secrets:\n      K: {value: hunter2hunter2}\n    bad: 1\n",
        "plugins: {a: {secrets: {K: {env: hunter2-hunter2}}}}",
        "plugins: {a: {secrets: {K: [hunter2hunter2], L: 'hunter2hunter2 hunter2hunter2'}}}",
        "plugins: {a: {secrets: hunter2hunter2}}",
        "plugins:\n  a:\n    secrets:\n      K: |\n        hunter2hunter2\n        hunter2hunter2\n    bad: 1\n",
        "x-it: &it hunter2hunter2\nplugins: {a: {secrets: {K: *it}}}",
        "tokens: [hunter2hunter2]",
        "notifications: [{slack: hunter2hunter2}, hunter2hunter2, {webhook: 'https://x/hunter2hunter2', bad: 1}]",
    ];
    for text in texts {
        let place = Place::new(&[("spanglass.yaml", text)]);
        let report = place.report();
        assert!(!report.valid(), "{text}");
        let said = format!("{report}{report:?}{}{}", report.render(Default::default()), report.to_json());
        assert!(!said.contains(&secret[..7]), "{text}: {said}");
    }
}

#[test]
fn the_picture_still_shows_where_the_mistake_is() {
    let text = "plugins:\n  a:\n    secrets:\n      K: hunter2hunter2\n";
    let pictured = Place::new(&[("spanglass.yaml", text)]).report().render(Default::default());
    assert!(pictured.contains("K: **************"), "{pictured}");
    assert!(pictured.contains("spanglass.yaml:4:7"), "{pictured}");
}

#[test]
fn a_file_under_another_name_is_pointed_at() {
    let place = Place::new(&[("spanglass.yml", "listen: :1")]);
    let (settings, report) = place.load().unwrap();
    assert_eq!((settings.listen.port(), codes_of(&report)), (7717, vec![codes::OTHER_NAME]));
}

#[test]
fn json_is_read_too() {
    let mut place = Place::new(&[("c.json", r#"{"listen": "localhost:5", "telemetry": {"logs": "off"}}"#)]);
    place.flags.config = Some("c.json".into());
    let settings = place.settings();
    assert_eq!((settings.listen.port(), settings.logs), (5, Logs::Off));
}

/// The example is what people copy: it loads as it stands, and with everything that is commented out.
#[test]
fn the_example_file_has_no_mistake() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/spanglass.example.yaml");
    let text = fs::read_to_string(path).unwrap();
    let uncommented: String =
        text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
    assert_ne!(text, uncommented);
    for text in [&text, &uncommented] {
        let place = Place::new(&[("spanglass.yaml", text), ("tokens.txt", TOKEN)]);
        let (_, report) =
            place.load().unwrap_or_else(|error| panic!("{}", error.0.render(Default::default())));
        let worse = report.iter().find(|diagnostic| diagnostic.severity != Severity::Note);
        assert_eq!(worse, None);
    }
    // Complete: every key of the file stands in it.
    let (root, _) = yaml::parse("example", uncommented.as_bytes());
    let root = root.unwrap();
    let has = |keys: &[&str], node: &yaml::Node| keys.iter().all(|key| node.get(key).is_some());
    let plugin = root.get("plugins").and_then(|plugins| plugins.get("http-request")).unwrap();
    assert!(has(written::KEYS, &root) && has(telemetry::KEYS, root.get("telemetry").unwrap()));
    assert!(has(plugins::KEYS, plugin));
    assert!(
        plugins::LIMIT_KEYS
            .iter()
            .all(|key| *key == "cpu" || plugin.get("limits").unwrap().get(key).is_some())
    );
}

#[test]
fn the_schema_knows_the_keys_that_the_reader_knows() {
    let schema = schema::schema();
    let keys = |pointer: &str| {
        let properties = schema.pointer(pointer).and_then(Value::as_object).unwrap();
        properties.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("/properties"), written::KEYS);
    assert_eq!(keys("/properties/telemetry/properties"), telemetry::KEYS);
    assert_eq!(keys("/$defs/plugin/properties"), plugins::KEYS);
    assert_eq!(keys("/$defs/plugin/properties/limits/properties"), plugins::LIMIT_KEYS);
    let reference =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    for key in [written::KEYS, telemetry::KEYS, plugins::KEYS, plugins::LIMIT_KEYS].concat() {
        assert!(reference.contains(&format!("`{key}`")), "docs/configuration.md does not explain `{key}`");
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = schema::schema();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut taken = 0;
    for entry in fs::read_dir(cases::folder()).unwrap() {
        let case = entry.unwrap().path();
        let Ok(bytes) = fs::read(case.join("spanglass.yaml")) else { continue };
        let expect: Value = serde_json::from_slice(&fs::read(case.join("expect.json")).unwrap()).unwrap();
        let (Some(root), _) = yaml::parse("spanglass.yaml", &bytes) else { continue };
        if expect["report"]["valid"] == true {
            let errors: Vec<String> =
                validator.iter_errors(&root.to_json()).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{}", case.display());
            taken += 1;
        }
    }
    assert!(taken >= 5, "{taken}");
    for wrong in
        [r#"{"listn": 1}"#, r#"{"plugins": {"A": {}}}"#, r#"{"plugins": {"a": {"secrets": {"K": "v"}}}}"#]
    {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}
