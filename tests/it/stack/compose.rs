//! compose.yaml, read as Docker's own library reads it, and what it mounts: names, ports and uids that one file says
//! and another relies on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::parts::root;

/// The program of `scripts/compose.sh`, and what it makes of compose.yaml.
fn compose(profile: &str) -> Option<Value> {
    let Some(reader) = std::env::var_os("SPANGLASS_TEST_COMPOSE").map(PathBuf::from) else {
        crate::support::skipped("SPANGLASS_TEST_COMPOSE names no reader of compose files");
        return None;
    };
    let mut command = Command::new(reader);
    // As people give it, and as Docker Compose then reads it: for what is started, and for what the file says.
    command.env("COMPOSE_PROFILES", profile).arg("compose.yaml").current_dir(root());
    command.args((!profile.is_empty()).then_some(profile));
    let ran = command.output().unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !errors.contains("level=warn"), "profile `{profile}`: {errors}");
    Some(serde_json::from_slice(&ran.stdout).unwrap())
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).map(|value| value.as_str().unwrap())
}

#[test]
fn images_are_pinned_ports_are_local_and_files_exist() {
    for profile in ["", "elk"] {
        let Some(compose) = compose(profile) else { return };
        for (name, service) in services(&compose) {
            let image = service["image"].as_str().unwrap();
            let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
            let version = tag.trim_start_matches('v').split('.').all(|part| part.parse::<u32>().is_ok());
            assert!(version && tag.matches('.').count() == 2, "{name}: {image} is not one version");

            for port in list(&service["ports"]) {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
            }
            assert!(service["mem_limit"].is_string(), "{name} may take all memory");
            assert!(service["restart"].is_string(), "{name}: nobody says what becomes of it when it ends");

            for mount in list(&service["volumes"]) {
                let source = mount["source"].as_str().unwrap();
                if mount["type"] == "bind" {
                    assert!(
                        std::path::Path::new(source).exists(),
                        "{name} mounts {source}, which is not there"
                    );
                    assert_eq!(mount["read_only"], true, "{name} may write to {source}");
                } else {
                    assert!(compose["volumes"].get(source).is_some(), "{name}: no volume {source}");
                }
            }
            // Files that its command names are mounted.
            let targets: Vec<&str> =
                list(&service["volumes"]).map(|mount| mount["target"].as_str().unwrap()).collect();
            let files = strings(&service["command"]).filter_map(|argument| argument.split_once("=/etc/"));
            for (argument, file) in files.filter(|(argument, _)| argument.contains("config")) {
                let file = format!("/etc/{file}");
                let mounted =
                    targets.iter().any(|target| file == *target || file.starts_with(&format!("{target}/")));
                assert!(mounted, "{name}: {argument}={file} is not mounted");
            }
        }
    }
}

/// What the runner's image is built on: a version in full, or the day of a snapshot.
#[test]
fn the_bases_of_the_image_are_pinned() {
    let number = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let text = text("Dockerfile");
    let bases: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("FROM ")?.split_whitespace().next()).collect();
    assert_eq!(bases.len(), 2, "{bases:?}");
    for base in bases {
        let tag = base.rsplit_once(':').map_or("", |(_, tag)| tag);
        let version = |part: &str| part.split('.').count() == 3 && part.split('.').all(|one| number(&one));
        let day = |part: &str| part.len() == 8 && number(&part);
        assert!(tag.split('-').any(|part| version(part) || day(part)), "{base} moves");
    }
}

#[test]
fn the_profile_brings_the_layer_and_nobody_waits_for_what_is_not_started() {
    let Some(without) = compose("") else { return };
    let with = compose("elk").unwrap();
    // That everybody one waits for is there, the reader has checked for both.
    let names = |compose: &Value| services(compose).map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    let added: Vec<String> = names(&with).difference(&names(&without)).cloned().collect();
    assert_eq!(added, ["elasticsearch", "elk-layer", "kibana"]);
    // The collector's last layer lies in a volume, into which `init` puts one and the profile another, in this order.
    let layer = |service: &Value| list(&service["volumes"]).find(|mount| mount["source"] == "layer").cloned();
    let collector = &with["services"]["otel-collector"];
    let last = strings(&collector["command"]).last().unwrap().to_owned();
    let place = layer(collector).unwrap()["target"].as_str().unwrap().to_owned();
    assert_eq!(last, format!("--config={place}/layer.yaml"));
    for (service, file) in [("init", "tail-sampling.yaml"), ("elk-layer", "elastic.yaml")] {
        let service = &with["services"][service];
        let mounted =
            |mount: &&Value| mount["source"].as_str().unwrap().ends_with(&format!("otel-collector/{file}"));
        let source = list(&service["volumes"]).find(mounted).unwrap()["target"].as_str().unwrap();
        let copy = format!("cp {source} {}/layer.yaml", layer(service).unwrap()["target"].as_str().unwrap());
        let command: Vec<&str> = strings(&service["command"]).collect();
        assert!(command.join(" ").contains(&copy), "{copy}");
    }
    let done = json!("service_completed_successfully");
    assert_eq!(collector["depends_on"]["elk-layer"]["condition"], done);
    assert_eq!(with["services"]["elk-layer"]["depends_on"]["init"]["condition"], done);
    // Without the profile there is nobody to wait for.
    assert_eq!(without["services"]["otel-collector"]["depends_on"]["elk-layer"]["required"], false);
}

#[test]
fn every_service_has_a_health_check_or_says_why_not() {
    let Some(compose) = compose("elk") else { return };
    let written = text("compose.yaml");
    for (name, service) in services(&compose) {
        let dependents = services(&compose).filter_map(|(_, other)| other["depends_on"].get(name));
        let waited_for = dependents.map(|dependency| dependency["condition"].as_str().unwrap());
        if service["healthcheck"]["test"].is_array() {
            continue;
        }
        let begin = written.find(&format!("\n  {name}:\n")).unwrap() + 1;
        let block = &written[begin..];
        let end = block
            .match_indices("\n  ")
            .find(|(at, _)| block[at + 3..].starts_with(|c: char| c.is_ascii_lowercase()));
        let block = &block[..end.map_or(block.len(), |(at, _)| at)];
        assert!(block.to_lowercase().contains("health check"), "{name} has none and does not say why");
        for condition in waited_for {
            assert!(condition != "service_healthy" || name == "spanglass", "{name} never becomes healthy");
        }
    }
    assert!(text("Dockerfile").contains("\nHEALTHCHECK "));
}

/// `http://name:port` and `name:port` in what compose mounts: services of these names that listen there.
#[test]
fn addresses_in_the_configurations_are_services_and_their_ports() {
    let Some(compose) = compose("elk") else { return };
    let ports = |service: &str| -> Vec<u64> {
        list(&compose["services"][service]["ports"]).map(|port| port["target"].as_u64().unwrap()).collect()
    };
    // Not published: only the collector sends there.
    let inner = [("tempo", 4317)];
    let files = [
        ("prometheus/prometheus.yaml", 7),
        ("prometheus/alertmanager.yaml", 1),
        ("otel-collector/base.yaml", 2),
        ("otel-collector/elastic.yaml", 1),
        ("stack/tempo.yaml", 1),
        ("stack/grafana/provisioning/datasources/spanglass.yaml", 4),
        ("compose.yaml", 2),
    ];
    for (file, at_least) in files {
        let mut found = 0;
        for line in text(file).lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            for (name, _) in services(&compose) {
                for (at, _) in line.match_indices(&format!("{name}:")) {
                    let before = line[..at].chars().next_back().unwrap_or(' ');
                    let digits: String =
                        line[at + name.len() + 1..].chars().take_while(char::is_ascii_digit).collect();
                    let image = line.starts_with("image:") || line.starts_with("x-");
                    let Ok(port) = digits.parse() else { continue };
                    // `:-tempo:4317` is a default.
                    let part = before.is_alphanumeric() || (before == '-' && !line[..at].ends_with(":-"));
                    if part || image {
                        continue;
                    }
                    let known = ports(name).contains(&port) || inner.contains(&(name.as_str(), port));
                    assert!(known, "{file}: {name} does not listen on {port}: {line}");
                    found += 1;
                }
            }
        }
        assert!(found >= at_least, "{file}: only {found} addresses found; is this test blind?");
    }
    // The runner listens where it is published, under a name that Alertmanager may call it by.
    let runner = yaml("stack/spanglass.yaml");
    assert_eq!(runner["listen"], "0.0.0.0:7717");
    assert!(strings(&runner["allowed_hosts"]).any(|host| host == "spanglass"));
    assert_eq!(runner["token_file"], "/run/spanglass/token");
    for who in ["spanglass", "alertmanager"] {
        let token = |mount: &&Value| mount["target"] == "/run/spanglass" && mount["source"] == "token";
        assert!(
            list(&compose["services"][who]["volumes"]).any(|mount| token(&mount)),
            "{who} cannot read the token"
        );
    }
}

#[test]
fn volumes_belong_to_the_users_that_write_to_them() {
    let Some(compose) = compose("elk") else { return };
    let init = &compose["services"]["init"];
    let script = strings(&init["command"]).last().unwrap();
    let given: Vec<&str> =
        script.split("chown 10001:10001 ").nth(1).unwrap().lines().next().unwrap().split(' ').collect();
    let mut users = 0;
    for (name, service) in services(&compose).filter(|(_, service)| service["user"].is_string()) {
        assert_eq!(service["user"], "10001:10001", "{name}");
        let before = &service["depends_on"]["init"]["condition"];
        assert_eq!(before, "service_completed_successfully", "{name} may start before its volume is its own");
        for mount in
            list(&service["volumes"]).filter(|mount| mount["type"] == "volume" && mount["read_only"] != true)
        {
            let same =
                |other: &&Value| other["source"] == mount["source"] && other["target"] == mount["target"];
            assert!(list(&init["volumes"]).any(|other| same(&other)), "{name}: {mount} is not the init's");
            assert!(given.contains(&mount["target"].as_str().unwrap()), "{name}: nobody gives it {mount}");
            users += 1;
        }
    }
    assert!(users >= 3, "only {users} volumes seen");
}

/// The exporter of this layer is not in the tests' collector; that it only adds to the layer below, and that an error of
/// its queue does not come back to the intake, can be seen.
#[test]
fn the_layer_for_elasticsearch_adds_a_pipeline_that_does_not_hold_up_the_logs() {
    let exporters = |layer: &Value| -> BTreeSet<String> {
        strings(&layer["service"]["pipelines"]["logs"]["exporters"]).map(str::to_owned).collect()
    };
    let (base, layer) = (yaml("otel-collector/base.yaml"), yaml("otel-collector/elastic.yaml"));
    let added: BTreeSet<String> = exporters(&layer).difference(&exporters(&base)).cloned().collect();
    assert_eq!(added, ["forward/elastic".to_owned()].into());
    assert!(exporters(&base).is_subset(&exporters(&layer)), "the layer takes a backend away");
    let queue = &layer["exporters"]["elasticsearch"]["sending_queue"];
    assert_eq!(queue["storage"], "file_storage");
    assert_eq!(queue, &base["exporters"]["otlp_http/loki"]["sending_queue"]);
    let pipelines: Vec<&String> = layer["service"]["pipelines"].as_object().unwrap().keys().collect();
    assert_eq!(pipelines, ["logs", "logs/elastic"]);
    let own = &layer["service"]["pipelines"]["logs/elastic"];
    assert_eq!(strings(&own["receivers"]).collect::<Vec<_>>(), ["forward/elastic"]);
    // Hands on from a goroutine of its own: what follows it cannot fail a request.
    assert_eq!(strings(&own["processors"]).collect::<Vec<_>>(), ["batch/elastic"]);
    assert_eq!(strings(&own["exporters"]).collect::<Vec<_>>(), ["elasticsearch"]);
    assert!(
        layer["processors"]["batch/elastic"].is_object()
            && layer["connectors"].get("forward/elastic").is_some()
    );
}

#[tokio::test]
async fn the_runner_accepts_the_configuration_that_is_mounted() {
    let home = crate::support::server::Home::new();
    let token = home.write("token", "0123456789abcdef0123456789abcdef");
    let config = text("stack/spanglass.yaml").replace("/run/spanglass/token", token.to_str().unwrap());
    let config = home.write("config.yaml", config);
    let ran = home.run(&["--config", config.to_str().unwrap(), "config", "validate"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn data_sources_that_dashboards_and_links_name_exist() {
    let sources = yaml("stack/grafana/provisioning/datasources/spanglass.yaml");
    let uids: BTreeSet<String> =
        list(&sources["datasources"]).map(|source| source["uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(uids, ["alertmanager", "loki", "prometheus", "tempo"].map(str::to_owned).into());

    let mut named = BTreeSet::new();
    collect(&sources, "datasourceUid", &mut named);
    assert!(named.len() >= 3, "{named:?}");
    let mut dashboards = BTreeSet::new();
    for file in std::fs::read_dir(root().join("dashboards")).unwrap().flatten() {
        let path = file.path();
        if path.extension().is_some_and(|end| end == "json") {
            let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            dashboards.insert(dashboard["uid"].as_str().unwrap().to_owned());
            collect(&dashboard, "datasource", &mut named);
        }
    }
    assert!(dashboards.len() >= 7, "{dashboards:?}");
    // Grafana's own (annotations), and the variable, whose default is below.
    let elsewhere = ["-- Grafana --", "${datasource}"];
    for uid in named.iter().filter(|uid| !elsewhere.contains(&uid.as_str())) {
        assert!(uids.contains(uid), "no data source {uid}");
    }

    let written = text("stack/grafana/provisioning/datasources/spanglass.yaml");
    for link in written.split("/d/").skip(1) {
        let uid = link.split(['?', '\n', ' ']).next().unwrap();
        assert!(dashboards.contains(uid), "no dashboard {uid}");
    }
    let home = text("compose.yaml");
    let home = home.split("spanglass-dashboards/").find_map(|rest| rest.split_once(".json")).unwrap().0;
    assert!(dashboards.contains(home), "the home dashboard {home} does not exist");
    // Provisioned from where they are mounted.
    let provider = yaml("stack/grafana/provisioning/dashboards/spanglass.yaml");
    assert_eq!(provider["providers"][0]["options"]["path"], "/etc/grafana/spanglass-dashboards");
    assert!(text("compose.yaml").contains("./dashboards:/etc/grafana/spanglass-dashboards:ro"));
}

/// The uids under a key: text, or an object with a `uid`.
fn collect(value: &Value, key: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let uid = field.as_str().or_else(|| field["uid"].as_str());
                if let (true, Some(uid)) = (name == key, uid) {
                    into.insert(uid.to_owned());
                }
                collect(field, key, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, into)),
        _ => {}
    }
}

/// No daemon builds the image here; what can be seen without one is.
#[test]
fn the_dockerfile_gets_what_it_copies_and_ends_as_nobody() {
    let dockerfile = text("Dockerfile");
    let cargo = text("Cargo.toml");
    let toolchain = dockerfile.split("FROM rust:").nth(1).unwrap().split('-').next().unwrap();
    let wanted = cargo.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let patch = toolchain.strip_prefix(wanted.trim_matches('"'));
    assert!(
        patch.is_some_and(|rest| rest.starts_with('.')),
        "the image is built with {toolchain}, not {wanted}"
    );
    let user = dockerfile.lines().rfind(|line| line.starts_with("USER ")).unwrap();
    let id: u32 = user["USER ".len()..].split(':').next().unwrap().parse().unwrap();
    assert!(id >= 1000, "{user}");
    let last = dockerfile.rfind("\nFROM ").unwrap();
    assert!(dockerfile[last..].contains(user), "the last stage runs as root");
    let version = cargo.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    assert!(text("compose.yaml").contains(&format!("image: spanglass:{}\n", version.trim_matches('"'))));
    // The command that scripts build with.
    assert!(dockerfile.contains("cargo build --release --locked --bin spanglass"));

    // The context: what .dockerignore lets through. All that the sources include, and each target of Cargo.toml.
    let ignore = text(".dockerignore");
    let allowed: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"));
    for path in &allowed {
        assert!(root().join(path).exists(), ".dockerignore lets {path} through, which is not there");
    }
    for needed in ["Cargo.toml", "Cargo.lock", "src", "benches"] {
        assert!(allowed.contains(&needed), "{needed} is not in the context");
    }
    let mut included = BTreeSet::new();
    included_by(&root().join("src"), &mut included);
    assert!(included.contains("docs") && included.contains("sdk"), "{included:?}");
    for folder in &included {
        assert!(
            allowed.contains(&folder.as_str()),
            "the sources include {folder}, which is not in the context"
        );
    }
}

/// The top folders of the repository from which sources include files.
fn included_by(folder: &std::path::Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            included_by(&path, into);
            continue;
        }
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for after in text.split("include_").skip(1).chain(text.split("#[folder").skip(1)) {
            let Some(file) = after.split('"').nth(1) else { continue };
            let from = if after.starts_with(" = ") { root() } else { path.parent().unwrap() };
            let mut whole = from.to_path_buf();
            for part in file.split('/') {
                if part == ".." { assert!(whole.pop()) } else { whole.push(part) }
            }
            if let Ok(inside) = whole.strip_prefix(root()) {
                let top = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
                if root().join(&top).is_dir() {
                    into.insert(top);
                }
            }
        }
    }
}
