//! `backup` and `restore`: round trips with a server and without one, bad files, and kills on the way.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::require;
use crate::support::server::{Home, Ran};

const ECHO: &str = "def invoke(input_data):\n    return input_data\n";
const SLOW: &str =
    "import time\ndef invoke(input_data):\n    time.sleep(input_data['seconds'])\n    return input_data\n";
/// Registers, calls and removals that go on beside backups.
const CHANGES: usize = 12;
/// Moments at which a restore is killed.
const KILLS: u32 = 10;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The plugins of a folder that nobody serves.
async fn names(home: &Home) -> Vec<String> {
    let ran = home.run(&["plugin", "list", "--local", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let list = ran.json();
    list["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// What `doctor` says of the store.
async fn store_check(home: &Home) -> Value {
    let checks = home.run(&["doctor", "--json"]).await.json();
    let find = |one: &&Value| one["name"] == "store";
    checks["checks"].as_array().unwrap().iter().find(find).unwrap().clone()
}

async fn register(home: &Home, name: &str, version: &str) {
    let folder = home.write_plugin(&format!("sources/{name}-{version}"), name, version, "", ECHO);
    let ran = home.run(&["plugin", "register", text(&folder), "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
}

async fn calls(home: &Home) -> usize {
    let ran = home.run(&["invocation", "list", "--limit", "1000", "--json"]).await;
    ran.json()["items"].as_array().map_or(0, Vec::len)
}

fn ok(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.json()
}

#[tokio::test]
async fn without_a_server_a_backup_comes_back_into_another_folder() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    for (name, version) in [("echo", "1.0.0"), ("echo", "1.1.0"), ("other", "2.0.0")] {
        register(&home, name, version).await;
    }
    for n in 0..3 {
        ok(&home.run(&["invoke", "echo", "-f", &format!("n={n}"), "--json"]).await);
    }
    let written = ok(&home.run(&["backup", "all.tar.gz", "--json"]).await);
    assert_eq!((&written["registrations"], &written["file"]), (&json!(3), &json!("all.tar.gz")));
    let file = home.path().join("all.tar.gz");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = home.run(&["backup", "all.tar.gz", "--json"]).await;
    assert_eq!((again.code, &again.json()["code"]), (6, &json!("conflict")));
    ok(&home.run(&["backup", "all.tar.gz", "--force", "--json"]).await);

    let other = Home::new();
    ok(&other.run(&["restore", text(&file), "--json"]).await);
    assert_eq!(names(&other).await, ["echo", "other"]);
    assert_eq!(calls(&other).await, 3);
    assert_eq!(store_check(&other).await["state"], "ok");
    let reply = ok(&other.run(&["invoke", "echo@^1", "-f", "n=7", "--json"]).await);
    assert_eq!(reply["meta"]["version"], "1.1.0");

    // What is there stays unless it is forced, and then what happened stays still.
    register(&other, "third", "1.0.0").await;
    let refused = other.run(&["restore", text(&file), "--json"]).await;
    assert_eq!((refused.code, &refused.json()["code"]), (6, &json!("conflict")));
    assert_eq!(names(&other).await, ["echo", "other", "third"]);
    ok(&other.run(&["restore", text(&file), "--force", "--json"]).await);
    assert_eq!(names(&other).await, ["echo", "other"]);
    assert_eq!(calls(&other).await, 4, "three that came back and one of its own");
    assert_eq!(store_check(&other).await["state"], "ok");
}

#[tokio::test]
async fn a_live_server_is_backed_up_and_restored_under_calls() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    home.write_plugin("sources/slow", "slow", "1.0.0", "", SLOW);
    home.write_plugin("sources/slow-again", "slow", "1.0.0", "description: other bytes", SLOW);
    home.write_plugin("sources/echo", "echo", "1.0.0", "", ECHO);
    home.write_plugin("sources/late", "late", "1.0.0", "", ECHO);
    let server = home.serve().await;
    let home = &server.home;
    for path in ["sources/slow", "sources/echo"] {
        ok(&home.run(&["plugin", "register", path, "--json"]).await);
    }
    assert_eq!(server.client.invoke("echo", json!({"n": 1})).await.status, 200);
    ok(&home.run(&["backup", "live.tar.gz", "--json"]).await);

    ok(&home.run(&["plugin", "remove", "echo", "--json"]).await);
    ok(&home.run(&["plugin", "remove", "slow", "--json"]).await);
    for path in ["sources/slow-again", "sources/late"] {
        ok(&home.run(&["plugin", "register", path, "--json"]).await);
    }
    let client = server.client.clone();
    let under_way = tokio::spawn(async move { client.invoke("slow", json!({"seconds": 2})).await });
    let start = std::time::Instant::now();
    while server.client.active("slow").await < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let restored = ok(&home.run(&["restore", "live.tar.gz", "--json"]).await);
    assert_eq!(
        (&restored["registered"], &restored["removed"], &restored["unchanged"]),
        (&json!(2), &json!(2), &json!(0)),
        "{restored}"
    );
    assert_eq!(names(&Home::new()).await, [""; 0]);
    let list = server.client.get("/v1/plugins").await.json();
    let live: Vec<_> = list["items"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(live, ["echo", "slow"]);
    assert_eq!(server.client.invoke("echo", json!({"n": 2})).await.status, 200);
    let ended = under_way.await.unwrap();
    assert_eq!(ended.status, 200, "{}", ended.text());
    let calls = server.client.get("/v1/invocations").await.json();
    assert_eq!(calls["items"].as_array().unwrap().len(), 3, "each call once: {calls}");
    // Once more changes nothing.
    let restored = ok(&home.run(&["restore", "live.tar.gz", "--json"]).await);
    assert_eq!((&restored["unchanged"], &restored["removed"]), (&json!(2), &json!(0)));
    assert_eq!(store_check(home).await["state"], "ok");
}

/// Name and content.
type Part = (String, Vec<u8>);
type Parts = Vec<Part>;

/// The parts of a backup.
fn parts(file: &[u8]) -> Parts {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

/// A backup of these parts, its list made fit if there is one.
fn pack(parts: &[Part]) -> Vec<u8> {
    use sha2::Digest;
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o600);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    };
    let mut list = Vec::new();
    for (name, bytes) in parts {
        if name == "backup.json" {
            let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
            manifest["parts"] = std::mem::take(&mut list).into();
            append(name, manifest.to_string().as_bytes());
            continue;
        }
        let sha256: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        list.push(json!({"name": name, "bytes": bytes.len(), "sha256": sha256}));
        append(name, bytes);
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_bad_backup_is_refused_and_changes_nothing() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    register(&home, "echo", "1.0.0").await;
    ok(&home.run(&["backup", "good.tar.gz", "--json"]).await);
    let good = std::fs::read(home.path().join("good.tar.gz")).unwrap();
    let of = |edit: &dyn Fn(&mut Parts)| {
        let mut parts = parts(&good);
        edit(&mut parts);
        pack(&parts)
    };
    let mut flipped = good.clone();
    // In the checksum of the whole: in the middle of a run of zeros a changed distance means the same.
    flipped[good.len() - 6] ^= 0x40;
    let zip = |parts: &[Part]| parts.iter().position(|(name, _)| name.starts_with("packages/")).unwrap();
    let database = |parts: &[Part]| parts.iter().position(|(name, _)| name == "registry.db").unwrap();
    let bad = [
        ("empty", Vec::new()),
        ("rubbish", vec![0x5a; 10_000]),
        ("cut off", good[..good.len() - 100].to_vec()),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("flipped", flipped),
        ("no list", of(&|parts| parts.retain(|(name, _)| name != "backup.json"))),
        ("no package", of(&|parts| drop(parts.remove(zip(parts))))),
        ("no registrations", of(&|parts| drop(parts.remove(database(parts))))),
        ("escapes", of(&|parts| parts.insert(0, ("../../escaped".into(), b"x".to_vec())))),
        ("twice", of(&|parts| parts.insert(0, parts[0].clone()))),
        (
            "other package",
            of(&|parts| {
                let at = zip(parts);
                parts[at].1.truncate(100);
            }),
        ),
        (
            "no database",
            of(&|parts| {
                let at = database(parts);
                parts[at].1 = vec![7; 8192];
            }),
        ),
    ];
    let server = home.serve().await;
    let other = Home::new();
    for (what, bytes) in bad {
        let file = server.home.write("bad.tar.gz", &bytes);
        let ran = other.run(&["restore", text(&file), "--json"]).await;
        assert_eq!(ran.code, 3, "{what}: {ran:#?}");
        assert!(ran.json()["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{what}: {ran:#?}");
        assert!(!other.data_dir().join("registry.db").exists(), "{what}");
        let reply = server.client.send(Method::POST, "/v1/restore", &[], bytes).await;
        assert_eq!(
            (reply.status, &reply.json()["kind"]),
            (422, &json!("invalid_input")),
            "{what}: {}",
            reply.text()
        );
        assert_eq!(server.client.invoke("echo", json!({})).await.status, 200, "{what}");
        for folder in [server.home.data_dir(), other.data_dir()] {
            let left = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let left: Vec<_> = left
                .map(|one| one.file_name())
                .filter(|name| name.to_string_lossy().starts_with('.'))
                .collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
    }
    let trigger = of(&|parts| {
        let at = database(parts);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &parts[at].1).unwrap();
        let connection = rusqlite::Connection::open(file.path()).unwrap();
        connection
            .execute_batch("CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM registrations; END")
            .unwrap();
        drop(connection);
        parts[at].1 = std::fs::read(file.path()).unwrap();
    });
    let reply = server.client.send(Method::POST, "/v1/restore", &[], trigger).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(reply.text().contains("other tables"), "{}", reply.text());
    assert!(!server.home.path().join("escaped").exists());
}

#[tokio::test]
async fn a_backup_in_the_middle_of_changes_is_consistent() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let (client, home) = (server.client.clone(), &server.home);
    let mut zips = Vec::new();
    for n in 0..6 {
        let folder = home.write_plugin(&format!("sources/v{n}"), "echo", &format!("1.0.{n}"), "", ECHO);
        ok(&home.run(&["plugin", "package", text(&folder), "--json"]).await);
        zips.push(std::fs::read(home.path().join(format!("echo-1.0.{n}.zip"))).unwrap());
    }
    let changes = tokio::spawn(async move {
        for rounds in 0..CHANGES {
            let n = rounds % zips.len();
            assert!(client.post("/v1/plugins", zips[n].clone()).await.status < 300);
            assert_eq!(client.invoke("echo", json!({"n": rounds})).await.status, 200);
            if rounds > 2 {
                client.delete(&format!("/v1/plugins/echo/versions/1.0.{}", (rounds - 2) % zips.len())).await;
            }
        }
    });
    let mut backups: Vec<PathBuf> = Vec::new();
    for n in 0.. {
        if changes.is_finished() && n > 0 {
            break;
        }
        let file = home.path().join(format!("{n}.tar.gz"));
        ok(&home.run(&["backup", text(&file), "--json"]).await);
        backups.push(file);
    }
    changes.await.unwrap();
    for file in backups {
        let other = Home::new();
        ok(&other.run(&["restore", text(&file), "--json"]).await);
        assert_eq!(store_check(&other).await["state"], "ok", "{}", file.display());
    }
}

#[tokio::test]
async fn a_killed_restore_leaves_the_old_or_the_new() {
    if !require("python3") {
        return;
    }
    let source = Home::new();
    for name in ["new-a", "new-b"] {
        register(&source, name, "1.0.0").await;
    }
    ok(&source.run(&["backup", "new.tar.gz", "--json"]).await);
    let file = source.path().join("new.tar.gz");
    let home = Home::new();
    let mut seen = [0; 2];
    for round in 0..=KILLS {
        let _ = std::fs::remove_dir_all(home.data_dir());
        register(&home, "old", "1.0.0").await;
        let mut child = Command::new(env!("CARGO_BIN_EXE_spanglass"))
            .args(["restore", text(&file), "--force", "--local", "--data-dir", text(&home.data_dir())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before it begins to after its end, whatever the machine's speed: the last one is not killed.
        let begun = std::time::Instant::now();
        let patience = Duration::from_millis(8) * round;
        while round < KILLS && child.try_wait().unwrap().is_none() && begun.elapsed() < patience {
            tokio::task::yield_now().await;
        }
        if round < KILLS {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let names = names(&home).await;
        match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["old"] => seen[0] += 1,
            ["new-a", "new-b"] => seen[1] += 1,
            _ => panic!("round {round}: {names:?}"),
        }
        assert_eq!(store_check(&home).await["state"], "ok", "round {round}");
        let left = std::fs::read_dir(home.data_dir()).unwrap().flatten();
        assert!(!left.map(|one| one.file_name()).any(|name| name.to_string_lossy().starts_with('.')));
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}
