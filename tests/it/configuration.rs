//! `config validate`, `show` and `schema`, as people and editors use them.

use serde_json::json;

use crate::support::server::Home;

const FILE: &str = "listen: 127.0.0.1:0\nplugins:\n  echo:\n    path: gone\n    secrets:\n      \
                    KEY: {env: CONFIG_TEST_KEY}\ntelemetry:\n  retention: {age: 3d}\n";

#[tokio::test]
async fn validate_says_everything_at_once_and_ends_with_3() {
    let home = Home::new();
    home.write("spanglass.yaml", FILE);
    let ran = home.run(&["config", "validate", "--json"]).await;
    assert_eq!(ran.code, 3, "{ran:#?}");
    let document = ran.json();
    assert_eq!(document["valid"], false);
    let found: Vec<_> = document["diagnostics"].as_array().unwrap().iter().collect();
    let places: Vec<_> = found.iter().map(|one| (one["path"].clone(), one["line"].clone())).collect();
    assert_eq!(
        places,
        [(json!("plugins.echo.path"), json!(4)), (json!("plugins.echo.secrets.KEY"), json!(6)),]
    );
    assert!(found.iter().all(|one| one["help"].is_string() && one["column"].is_u64()), "{document}");
    let people = home.run(&["config", "validate"]).await;
    assert!(people.stderr.contains("path: gone") && people.stderr.contains("help:"), "{people:#?}");

    // Mistakes of the text are reported with the same command, in the same shape.
    home.write("spanglass.yaml", "listn: x\ndata_dir: '~/x'\n");
    let ran = home.run(&["config", "validate", "--json"]).await;
    assert_eq!((ran.code, ran.json()["diagnostics"].as_array().unwrap().len()), (3, 2), "{ran:#?}");

    let home = home.env("CONFIG_TEST_KEY", "hunter2");
    home.write("spanglass.yaml", FILE);
    home.write_plugin("gone", "echo", "1.0.0", "", "def invoke(x):\n    return x\n");
    let ran = home.run(&["config", "validate", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["valid"]), (0, &json!(true)), "{ran:#?}");
    let people = home.run(&["config", "validate"]).await;
    assert!(people.stdout.starts_with("valid: ") && people.stdout.contains("spanglass.yaml"), "{people:#?}");
    assert!(!home.data_dir().exists(), "looking starts nothing");
}

#[tokio::test]
async fn show_says_who_decided_and_never_a_secret() {
    let home = Home::new().env("SPANGLASS_TOKEN_FILE", "tokens.txt").env("CONFIG_TEST_KEY", "hunter2");
    home.write("spanglass.yaml", FILE);
    home.write("tokens.txt", "0123456789abcdef-hunter2\n");
    let ran = home.run(&["config", "show", "--json", "--plugins", "plugins"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.json();
    let origins = &document["origins"];
    assert_eq!(origins["listen"], json!({"line": 1}));
    assert_eq!(origins["data_dir"], json!({"variable": "SPANGLASS_DATA_DIR"}));
    assert_eq!(origins["token_file"], json!({"variable": "SPANGLASS_TOKEN_FILE"}));
    assert_eq!(origins["plugin_dirs"], json!({"flag": "--plugins"}));
    assert_eq!(origins["telemetry.retention.age"], json!({"line": 8}));
    assert_eq!(origins["telemetry.retention.max"], "default");
    assert_eq!(
        document["settings"]["plugins"]["echo"]["secrets"],
        json!({"KEY": {"env": "CONFIG_TEST_KEY"}})
    );
    let people = home.run(&["config", "show"]).await;
    let line = people.stdout.lines().find(|line| line.starts_with("telemetry.retention.age")).unwrap();
    assert!(line.contains("spanglass.yaml:8") && line.ends_with("3d"), "{line}");
    assert!(!format!("{ran:?}{people:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_schema_is_printed_even_where_the_configuration_is_bad() {
    let home = Home::new();
    home.write("spanglass.yaml", "listn: x\n");
    let ran = home.run(&["config", "schema"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["title"], "spanglass.yaml");
    assert!(!jsonschema::is_valid(&schema, &json!({"listn": "x"})));
    assert!(jsonschema::is_valid(&schema, &json!({"listen": "127.0.0.1:0"})));
}
