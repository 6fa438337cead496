//! Wheels, an index of them on loopback, and folders for PATH in which there are only certain installers.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::packages::zip_files;
use super::server::Home;

/// A wheel and the name of its file.
#[derive(Clone)]
pub struct TestWheel {
    pub file_name: String,
    pub bytes: Vec<u8>,
}

impl TestWheel {
    /// For any machine; `requires` are lines of `Requires-Dist`.
    pub fn pure(name: &str, version: &str, requires: &[&str], files: &[(&str, &str)]) -> TestWheel {
        TestWheel::tagged(name, version, "py3-none-any", requires, files)
    }

    pub fn tagged(
        name: &str,
        version: &str,
        tag: &str,
        requires: &[&str],
        files: &[(&str, &str)],
    ) -> TestWheel {
        let info = format!("{}-{version}.dist-info", name.replace('-', "_"));
        let requires: String = requires.iter().map(|line| format!("Requires-Dist: {line}\n")).collect();
        let extras = "Provides-Extra: more\n";
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}{requires}");
        let about = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n");
        let mut all: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        all.push((format!("{info}/METADATA"), metadata));
        all.push((format!("{info}/WHEEL"), about));
        let lines = all
            .iter()
            .map(|(path, text)| format!("{path},sha256={},{}\n", base64(&Sha256::digest(text)), text.len()));
        let record: String = lines.chain([format!("{info}/RECORD,,\n")]).collect();
        all.push((format!("{info}/RECORD"), record));
        let entries: Vec<(&str, &[u8])> =
            all.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        TestWheel {
            file_name: format!("{}-{version}-{tag}.whl", name.replace('-', "_")),
            bytes: zip_files(&entries),
        }
    }

    pub fn sha256(&self) -> String {
        Sha256::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn name(&self) -> String {
        self.file_name.split('-').next().unwrap().replace('_', "-").to_lowercase()
    }

    pub fn write_to(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(&self.file_name), &self.bytes).unwrap();
    }
}

/// A tag that this machine takes and most others do not.
pub fn own_platform() -> String {
    format!("py3-none-linux_{}", std::env::consts::ARCH)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let groups =
        bits.as_bytes().chunks(6).map(|group| format!("{:0<6}", std::str::from_utf8(group).unwrap()));
    groups.map(|group| char::from(LETTERS[usize::from_str_radix(&group, 2).unwrap()])).collect()
}

/// A simple index (PEP 503) on loopback.
pub struct Index {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    wheels: BTreeMap<String, TestWheel>,
    /// What has to stand in `Authorization`.
    authorization: Option<String>,
    seen: Mutex<Vec<String>>,
    /// Files are only given while this is true.
    open: watch::Sender<bool>,
}

impl Index {
    pub async fn start(wheels: &[TestWheel]) -> Index {
        Index::guarded(wheels, None).await
    }

    /// `user` and password that everybody has to name.
    pub async fn guarded(wheels: &[TestWheel], user: Option<(&str, &str)>) -> Index {
        let authorization = user.map(|(user, password)| {
            let text = base64(format!("{user}:{password}").as_bytes()).replace('-', "+").replace('_', "/");
            format!("Basic {text}{}", "=".repeat((4 - text.len() % 4) % 4))
        });
        let wheels = wheels.iter().map(|wheel| (wheel.file_name.clone(), wheel.clone())).collect();
        let (seen, open) = (Mutex::default(), watch::channel(true).0);
        let shared = Arc::new(Shared { wheels, authorization, seen, open });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Index { address, shared, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/simple/", self.address)
    }

    pub fn url_with(&self, credentials: &str) -> String {
        format!("http://{credentials}@{}/simple/", self.address)
    }

    /// How often a path that ends like this was asked for, without partial and conditional looks.
    pub fn fetched(&self, end: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|path| path.ends_with(end)).count()
    }

    pub fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    pub fn set_open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    let path = uri.path().to_owned();
    shared.seen.lock().unwrap().push(path.clone());
    let named = headers.get("authorization").and_then(|value| value.to_str().ok());
    if shared.authorization.is_some() && named != shared.authorization.as_deref() {
        let ask = [("www-authenticate", "Basic realm=\"index\"")];
        return (StatusCode::UNAUTHORIZED, ask, "who are you?").into_response();
    }
    if let Some(file_name) = path.strip_prefix("/files/") {
        let mut open = shared.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        return match shared.wheels.get(file_name) {
            Some(wheel) => wheel.bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let links: String = shared
        .wheels
        .values()
        .filter(|wheel| wheel.name() == name)
        .map(|wheel| format!("<a href=\"/files/{0}#sha256={1}\">{0}</a>\n", wheel.file_name, wheel.sha256()))
        .collect();
    if links.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    ([("content-type", "text/html")], format!("<!DOCTYPE html><html><body>{links}</body></html>"))
        .into_response()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Uv,
    Pip,
    /// Neither, nor what could bring pip.
    Nothing,
}

impl Tool {
    pub const ALL: [Tool; 3] = [Tool::Uv, Tool::Pip, Tool::Nothing];

    /// As spans call it.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Uv => "uv",
            Tool::Pip => "pip",
            Tool::Nothing => "unpack",
        }
    }

    /// Whether it can be tried here.
    pub fn is_there(self) -> bool {
        let python = super::require("python3");
        match self {
            Tool::Uv => python && uv().is_some(),
            Tool::Pip => python && has_module(&real_python(), &["pip", "ensurepip"]),
            Tool::Nothing => python && has_module(&real_python(), &["venv"]),
        }
    }

    /// Lets programs of `home` find this and nothing else, with a home folder of their own and nothing of ours that
    /// installers would heed.
    pub fn prepare(self, home: Home) -> Home {
        let folder = home.path().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        // What scripts of environments call.
        for name in ["sh", "dirname", "realpath", "env"] {
            let place = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.exists());
            symlink(place.unwrap(), folder.join(name)).unwrap();
        }
        let mut python = real_python();
        if self == Tool::Nothing {
            let bare = home.path().join("bare");
            let made =
                Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(&bare).status().unwrap();
            assert!(made.success());
            let library = std::fs::read_dir(bare.join("lib")).unwrap().flatten().next().unwrap().path();
            std::fs::write(
                library.join("site-packages/hide.pth"),
                "import sys; sys.modules['ensurepip'] = None\n",
            )
            .unwrap();
            python = bare.join("bin/python3");
        }
        let script = folder.join("python3");
        std::fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", python.display())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        if self == Tool::Uv {
            symlink(uv().unwrap(), folder.join("uv")).unwrap();
        }
        let user = home.path().join("user");
        std::fs::create_dir(&user).unwrap();
        let (path, user) = (folder.display().to_string(), user.display().to_string());
        let mut home = home.env("PATH", path).env("HOME", user);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let heeded = ["PIP_", "UV_", "XDG_"].iter().any(|start| name.starts_with(start));
            if heeded || name.to_lowercase().ends_with("_proxy") {
                home = home.env(&name, "");
            }
        }
        home
    }
}

/// Those of the tools that are here.
pub fn tools() -> Vec<Tool> {
    Tool::ALL.into_iter().filter(|tool| tool.is_there()).collect()
}

/// The interpreter itself: what stands in PATH may be a wrapper that needs more of its surroundings.
pub fn real_python() -> PathBuf {
    let words = ["-I", "-c", "import os, sys; print(os.path.realpath(sys._base_executable))"];
    let said = Command::new("python3").args(words).output().unwrap();
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}

fn has_module(python: &Path, names: &[&str]) -> bool {
    let has = |name: &&str| {
        Command::new(python).args(["-I", "-c", &format!("import {name}")]).output().unwrap().status.success()
    };
    names.iter().any(has)
}

/// `SPANGLASS_TEST_UV`, else beside the Python of the tests, else of PATH.
fn uv() -> Option<PathBuf> {
    let named = std::env::var_os("SPANGLASS_TEST_UV").map(PathBuf::from);
    let python = std::env::var_os("SPANGLASS_TEST_PYTHON").map(PathBuf::from);
    let beside = python.and_then(|python| Some(python.parent()?.join("uv")));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let of_path = std::env::split_paths(&folders).map(|folder| folder.join("uv"));
    let found = named.into_iter().chain(beside).chain(of_path).find(|path| path.is_file());
    if found.is_none() {
        // Says so, or fails where nothing may be skipped.
        super::require("uv");
    }
    found
}
