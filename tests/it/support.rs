//! What tests share: a recording guest, deployments made of source text, and waiting with a bound.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use spanglass::model::error::InvokeError;
use spanglass::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan, LogStream, Secret};
use spanglass::model::ids::{InvocationId, SpanId};
use spanglass::model::invocation::Usage;
use spanglass::model::limits::{BreakerSettings, Limits, RetrySettings};
use spanglass::model::name::PluginName;
use spanglass::model::slo::Slo;
use spanglass::package::manifest::{Action, Isolation, Manifest, Requires, RuntimeKind, SandboxTier, Start};
use spanglass::runtimes::process::ProcessRuntime;
use spanglass::runtimes::python::{PythonRuntime, PythonSettings};
use spanglass::runtimes::worker::{WorkerSettings, Workers};
use spanglass::runtimes::{
    BoxFuture, CallEnd, CallRequest, Convention, DeploymentSpec, Guest, Instance, Launcher, Runtime,
    StartMode, StartNews,
};

pub mod metrics;
#[path = "../../benches/support/open_loop.rs"]
pub mod open_loop;
pub mod packages;
pub mod server;
pub mod sink;
pub mod upstream;
pub mod wheels;

/// How long anything may take that is polled for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whether `program` can be run. Its absence is said on stderr, or is an error where nothing may be skipped.
pub fn require(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        skipped(&format!("{program} is missing"));
    }
    found
}

/// Says why a test is skipped, or fails it where nothing may be.
pub fn skipped(why: &str) {
    let all = std::env::var("SPANGLASS_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!all, "{why}, and SPANGLASS_TEST_REQUIRE=all lets nothing be skipped");
    use std::io::Write as _;
    // Raw: the test harness captures `eprintln!`.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The Python of `scripts/python.sh` (else the system's), if it can import `module`. Its absence is said on stderr,
/// or is an error where nothing may be skipped.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let named = std::env::var_os("SPANGLASS_TEST_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from("python3"));
    let mut import = std::process::Command::new(&python);
    import.args(["-c", &format!("import {module}")]);
    if import.output().is_ok_and(|ran| ran.status.success()) {
        return Some(python);
    }
    skipped(&format!("{} has no {module}", python.display()));
    None
}

/// A file system of a few pages at a folder, which is made; unmounted when it is dropped. `None`: this machine
/// gives none, which is said aloud, and is a failure where nothing may be skipped.
pub fn mount_tmpfs(folder: &Path, kib: u32) -> Option<Tmpfs> {
    std::fs::create_dir_all(folder).unwrap();
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder);
    let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
    if !mounted {
        skipped("a tmpfs cannot be mounted (that needs root)");
    }
    mounted.then(|| Tmpfs(folder.to_owned()))
}

pub struct Tmpfs(PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Polls until `condition` holds.
pub async fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs an ignored test of this binary in a process of its own.
pub async fn alone(test: &str) {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 5, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn raw(value: Value) -> Arc<RawValue> {
    Arc::from(serde_json::value::to_raw_value(&value).unwrap())
}

/// Everything that a guest said.
#[derive(Default)]
pub struct Recorded {
    pub chunks: Vec<Value>,
    pub logs: Vec<GuestLog>,
    pub spans: Vec<GuestSpan>,
    pub metrics: Vec<GuestMetric>,
    pub calls: Vec<GuestCall>,
    pub dropped: Vec<(&'static str, u64)>,
    pub usage: Vec<Usage>,
}

type Answer = Arc<dyn Fn(GuestCall) -> BoxFuture<'static, GuestAnswer> + Send + Sync>;

#[derive(Default)]
pub struct TestGuest {
    pub seen: Recorded,
    pub answer: Option<Answer>,
}

impl TestGuest {
    pub fn lines(&self, stream: LogStream) -> Vec<&str> {
        self.seen.logs.iter().filter(|log| log.stream == stream).map(|log| log.body.as_str()).collect()
    }

    pub fn dropped(&self, what: &str) -> u64 {
        self.seen.dropped.iter().filter(|(name, _)| *name == what).map(|(_, count)| count).sum()
    }
}

impl Guest for TestGuest {
    fn chunk(&mut self, part: Arc<RawValue>) -> BoxFuture<'_, Result<(), InvokeError>> {
        self.seen.chunks.push(serde_json::from_str(part.get()).unwrap());
        Box::pin(std::future::ready(Ok(())))
    }

    fn log(&mut self, log: GuestLog) {
        self.seen.logs.push(log);
    }

    fn span(&mut self, span: GuestSpan) {
        self.seen.spans.push(span);
    }

    fn metric(&mut self, metric: GuestMetric) {
        self.seen.metrics.push(metric);
    }

    fn ask(&mut self, call: GuestCall) -> BoxFuture<'static, GuestAnswer> {
        self.seen.calls.push(call.clone());
        (self.answer.as_ref().expect("this plugin asks nothing"))(call)
    }

    fn execute_span(&self) -> SpanId {
        SpanId::from_bytes([7; 8]).unwrap()
    }

    fn dropped(&mut self, what: &'static str, count: u64) {
        self.seen.dropped.push((what, count));
    }

    fn usage(&mut self, usage: Usage) {
        self.seen.usage.push(usage);
    }
}

/// Long enough for starts in a row, short enough to be waited for.
pub const FORK_SERVER_IDLE: Duration = Duration::from_secs(2);

/// A plugin made of source text, ready to be started.
pub struct Plugin {
    pub launcher: Arc<dyn Launcher>,
    pub folder: PathBuf,
    pub data_dir: PathBuf,
    pub stray: Arc<Mutex<Vec<GuestLog>>>,
    pub start_logs: Mutex<Vec<GuestLog>>,
    pub start_spans: Mutex<Vec<GuestSpan>>,
    pub start_modes: Mutex<Vec<StartMode>>,
    _home: tempfile::TempDir,
}

pub struct PluginSource<'a> {
    pub runtime: RuntimeKind,
    pub files: &'a [(&'a str, &'a str)],
    pub entrypoint: &'a str,
    pub actions: &'a [(&'a str, &'a str)],
    pub convention: Convention,
    pub requires_python: Option<&'a str>,
}

impl Plugin {
    /// A plugin whose `executor.py` is `source`.
    pub fn new(source: &str) -> Plugin {
        Plugin::python(source, |_| {})
    }

    /// `spanglass run executor.py[:function]`.
    pub fn function(source: &str, function: Option<&str>) -> Plugin {
        let entrypoint = function.map_or("executor.py".into(), |name| format!("executor.py:{name}"));
        Plugin::from(PluginSource {
            runtime: RuntimeKind::Python,
            files: &[("executor.py", source)],
            entrypoint: &entrypoint,
            actions: &[],
            convention: Convention::Function,
            requires_python: None,
        })
    }

    /// A process plugin whose `main` is `source`, a script.
    pub fn process(source: &str) -> Plugin {
        Plugin::from(PluginSource {
            runtime: RuntimeKind::Process,
            files: &[("main", source)],
            entrypoint: "main",
            actions: &[],
            convention: Convention::Plugin,
            requires_python: None,
        })
    }

    /// The same, with processes that are spawned, not copied.
    pub fn spawned(source: &str) -> Plugin {
        Plugin::python(source, |manifest| manifest.start = Start::Spawn)
    }

    /// A plugin whose `executor.py` is `source`, with a changed manifest.
    pub fn python(source: &str, change: impl FnOnce(&mut Manifest)) -> Plugin {
        let source = PluginSource {
            runtime: RuntimeKind::Python,
            files: &[("executor.py", source)],
            entrypoint: "executor.py:invoke",
            actions: &[],
            convention: Convention::Plugin,
            requires_python: None,
        };
        Plugin::with(source, change)
    }

    pub fn from(source: PluginSource<'_>) -> Plugin {
        Plugin::with(source, |_| {})
    }

    pub fn with(source: PluginSource<'_>, change: impl FnOnce(&mut Manifest)) -> Plugin {
        Plugin::with_python(source, None, change)
    }

    /// One that runs on `python`, a program.
    pub fn with_python(
        source: PluginSource<'_>,
        python: Option<PathBuf>,
        change: impl FnOnce(&mut Manifest),
    ) -> Plugin {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("package");
        for (path, text) in source.files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let stray = Arc::new(Mutex::new(Vec::new()));
        let sink = stray.clone();
        let data_dir = home.path().join("data");
        let workers = Workers::new(WorkerSettings {
            data_dir: data_dir.clone(),
            supervisor: env!("CARGO_BIN_EXE_spanglass").into(),
            stray_logs: Arc::new(move |_, log| sink.lock().unwrap().push(log)),
        });
        let runtime: Box<dyn Runtime> = match source.runtime {
            RuntimeKind::Python => {
                let fork_server_idle = FORK_SERVER_IDLE;
                let settings = PythonSettings { program: python, fork_server_idle, ..Default::default() };
                Box::new(PythonRuntime::with(workers, settings))
            }
            RuntimeKind::Process => Box::new(ProcessRuntime::new(workers)),
        };
        let config = json!({"level": "info"});
        let mut manifest = manifest(&source);
        change(&mut manifest);
        let spec = DeploymentSpec {
            manifest: Arc::new(manifest),
            folder: folder.clone(),
            config: config.as_object().unwrap().clone(),
            secrets: vec![("API_TOKEN".into(), Secret::new("s3cr3t"))],
            convention: source.convention,
            debugging: None,
        };
        let launcher = runtime.deploy(Arc::new(spec)).unwrap();
        Plugin {
            launcher,
            folder,
            data_dir,
            stray,
            start_logs: Mutex::default(),
            start_spans: Mutex::default(),
            start_modes: Mutex::default(),
            _home: home,
        }
    }

    pub async fn start(&self) -> Worker {
        match self.try_start().await {
            Ok(worker) => worker,
            Err(error) => panic!("{error:#?}"),
        }
    }

    pub async fn try_start(&self) -> Result<Worker, InvokeError> {
        let mut logs = Vec::new();
        let mut spans = Vec::new();
        let mut modes = Vec::new();
        let mut listener = |news| match news {
            StartNews::Log(log) => logs.push(log),
            StartNews::Span(span) => spans.push(span),
            StartNews::Mode(mode) => modes.push(mode),
        };
        let started = self.launcher.launch(&mut listener).await;
        *self.start_spans.lock().unwrap() = spans;
        *self.start_modes.lock().unwrap() = modes;
        *self.start_logs.lock().unwrap() = logs;
        Ok(Worker { instance: started? })
    }
}

fn manifest(source: &PluginSource<'_>) -> Manifest {
    let action = |(name, entrypoint): &(&str, &str)| {
        ((*name).to_owned(), Action { entrypoint: (*entrypoint).to_owned() })
    };
    Manifest {
        name: PluginName::parse("under-test").unwrap(),
        version: semver::Version::new(1, 0, 0),
        description: None,
        owner: None,
        runtime: source.runtime,
        entrypoint: source.entrypoint.into(),
        actions: source.actions.iter().map(action).collect(),
        input_schema: None,
        output_schema: None,
        dependencies: Vec::new(),
        config: Map::new(),
        config_schema: None,
        secrets: vec!["API_TOKEN".into()],
        requires: Requires { python: source.requires_python.map(str::to_owned), spanglass: None },
        limits: Limits::default(),
        retry: RetrySettings::default(),
        breaker: BreakerSettings::default(),
        examples: Vec::new(),
        sandbox_min_tier: SandboxTier::S0,
        isolation: Isolation::default(),
        start: Start::default(),
        slo: Slo::default(),
        expect_every: None,
        observe: None,
    }
}

pub fn request(input: Value) -> CallRequest {
    CallRequest {
        invocation_id: InvocationId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        attempt: 1,
        action: "invoke".into(),
        input: raw(input),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: None,
        baggage: None,
        deadline: Duration::from_secs(30),
        output_bytes_max: 1 << 20,
    }
}

/// A started worker.
pub struct Worker {
    pub instance: Box<dyn Instance>,
}

impl Worker {
    pub async fn call(&mut self, input: Value) -> (TestGuest, Result<CallEnd, InvokeError>) {
        let mut guest = TestGuest::default();
        let call = self.instance.call(request(input), &mut guest);
        let result =
            tokio::time::timeout(PATIENCE * 3, call).await.expect("each of these calls ends by itself");
        (guest, result)
    }

    /// The output of a call that must work.
    pub async fn output(&mut self, input: Value) -> Value {
        match self.call(input).await.1 {
            Ok(end) => serde_json::from_str(end.output.expect("an output").get()).unwrap(),
            Err(error) => panic!("{error:#?}"),
        }
    }

    pub async fn error(&mut self, input: Value) -> InvokeError {
        match self.call(input).await.1 {
            Ok(end) => panic!("{end:?}"),
            Err(error) => error,
        }
    }

    pub fn pid(&self) -> u32 {
        self.instance.pid().unwrap()
    }
}

/// Whether a process runs; a zombie does not.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The process that a live process is a child of.
pub fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A moment as the kernel tells it, in hundredths of a second since the start of the machine.
pub fn kernel_now() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    (uptime.split(' ').next().unwrap().parse::<f64>().unwrap() * 100.0) as u64
}

/// Whether the process runs that had this id at that moment: ids are used again, the sooner the more forks there
/// are.
pub fn alive_since(pid: u32, moment: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let began = rest.split(' ').nth(19).and_then(|ticks| ticks.parse::<u64>().ok());
    !rest.starts_with('Z') && began.is_some_and(|began| began <= moment)
}

pub fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
