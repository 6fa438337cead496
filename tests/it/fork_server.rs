//! Workers that are copies of a process which has loaded the plugin: that they are, that nobody notices, and what happens
//! where it cannot be.

use std::time::Duration;

use serde_json::json;
use spanglass::model::guest::Severity;
use spanglass::model::kind::ErrorKind;
use spanglass::runtimes::StartMode;
use spanglass::runtimes::pool::{Pool, PoolObserver, PoolSettings};
use spanglass::telemetry::{ExitReason, InstanceState};

use crate::support::{PATIENCE, Plugin, alive, eventually, parent, require};

const LOADING: StartMode = StartMode::Fork { loading: true };
const LOADED: StartMode = StartMode::Fork { loading: false };

fn modes(plugin: &Plugin) -> Vec<StartMode> {
    plugin.start_modes.lock().unwrap().clone()
}

/// Why the last start was no copy.
fn refusal(plugin: &Plugin) -> String {
    match modes(plugin).last() {
        Some(StartMode::Spawn { why: Some(why) }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_plugin_is_loaded_once_for_all_workers() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os\nprint('loading')\nloaded_by = os.getpid()\nstarted_by = None\n\
         def on_start(ctx):\n    global started_by\n    started_by = [os.getpid(), ctx.config, ctx.secrets['API_TOKEN']]\n\
         def invoke(data): return [os.getpid(), os.getppid(), loaded_by, started_by, os.getcwd()]\n",
    );
    let mut first = plugin.start().await;
    assert_eq!(modes(&plugin), [LOADING]);
    let bodies = || plugin.start_logs.lock().unwrap().iter().map(|log| log.body.clone()).collect::<Vec<_>>();
    assert_eq!(bodies(), ["loading"], "told to whoever waits for it");
    let mut second = plugin.start().await;
    assert_eq!((modes(&plugin), bodies()), (vec![LOADED], vec![]));
    let (one, two) = (first.output(json!({})).await, second.output(json!({})).await);
    let server = parent(first.pid());
    for (pid, output) in [(first.pid(), &one), (second.pid(), &two)] {
        assert_eq!(output[0], pid);
        assert_eq!((&output[1], &output[2]), (&json!(server), &json!(server)), "loaded by its parent");
        assert_eq!(output[3], json!([pid, {"level": "info"}, "s3cr3t"]), "on_start ran in the worker");
    }
    assert_ne!(one[4], two[4], "a working folder for each");
    drop((first, second));
    assert!(alive(server));
    eventually("the server ends when it is not used", PATIENCE, || !alive(server)).await;
    assert_eq!(plugin.start().await.output(json!({})).await[3][1], json!({"level": "info"}));
    assert_eq!(modes(&plugin), [LOADING]);
}

#[tokio::test]
async fn copies_draw_their_own_lots() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os, random, secrets, ssl, tempfile, uuid\nrandom.random()\nuuid.uuid4()\ntempfile.mktemp()\nssl.RAND_bytes(1)\n\
         def invoke(data): return [random.random(), str(uuid.uuid4()), secrets.token_hex(), ssl.RAND_bytes(8).hex(), \
         tempfile.mktemp(), os.urandom(8).hex()]\n",
    );
    let mut first = plugin.start().await;
    let mut second = plugin.start().await;
    let (one, two) = (first.output(json!({})).await, second.output(json!({})).await);
    for (one, two) in one.as_array().unwrap().iter().zip(two.as_array().unwrap()) {
        assert_ne!(one, two);
    }
}

#[tokio::test]
async fn output_of_copies_belongs_to_their_calls() {
    if !require("python3") {
        return;
    }
    // A stream that was made before the copy, and a line that was begun before it.
    let plugin = Plugin::new(
        "import logging, os, sys\nlogging.basicConfig(level='INFO')\nearly = sys.stdout\nearly.write('begun')\n\
         def invoke(data):\n    print('printed', file=early)\n    os.write(2, b'raw')\n    logging.info('logged')\n",
    );
    for (round, begun) in ["begun", ""].into_iter().enumerate() {
        let mut worker = plugin.start().await;
        let start: Vec<_> = plugin.start_logs.lock().unwrap().iter().map(|log| log.body.clone()).collect();
        assert_eq!(start, begun.split_terminator(' ').collect::<Vec<_>>(), "{round}");
        let (guest, result) = worker.call(json!({})).await;
        result.unwrap();
        let mut bodies: Vec<_> = guest.seen.logs.iter().map(|log| log.body.as_str()).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["logged", "printed", "raw"], "{round}");
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_spawned_and_says_why() {
    if !require("python3") {
        return;
    }
    for (source, why) in [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True, name='ticker').start()\n",
            "loading the plugin started a thread (ticker), which copies would lack",
        ),
        ("import socket\npair = socket.socketpair()\n", "loading the plugin opened a socket (descriptor "),
        (
            "import os\nos.register_at_fork(after_in_child=lambda: os._exit(9))\n",
            "a copy of the loaded plugin did not start: the worker was not ready yet and ended with exit code 9",
        ),
    ] {
        let plugin = Plugin::new(&format!("import os\n{source}def invoke(data): return os.getpid()\n"));
        let mut first = plugin.start().await;
        assert!(refusal(&plugin).starts_with(why), "{}", refusal(&plugin));
        assert_eq!(first.output(json!({})).await, first.pid());
        let mut second = plugin.start().await;
        assert_eq!(modes(&plugin).len(), 1, "it is not tried again");
        assert!(refusal(&plugin).starts_with(why), "{}", refusal(&plugin));
        assert_eq!(second.output(json!({})).await, second.pid());
        assert_eq!(parent(first.pid()), parent(second.pid()), "both are the supervisor's");
    }
    let plugin = Plugin::spawned("import os\ndef invoke(data): return os.getpid()\n");
    plugin.start().await;
    assert_eq!(modes(&plugin), [StartMode::Spawn { why: None }]);
}

/// The plugin waits for children that are not its own.
#[tokio::test]
async fn a_plugin_that_reaps_all_children_harms_only_what_is_known_of_their_ends() {
    if !require("python3") {
        return;
    }
    for reaper in ["signal.SIG_IGN", "lambda *_: os.waitpid(-1, os.WNOHANG)"] {
        let plugin = Plugin::new(&format!(
            "import os, signal\nsignal.signal(signal.SIGCHLD, {reaper})\n\
             def invoke(data): return os._exit(1) if data['die'] else os.getpid()\n"
        ));
        for _ in 0..3 {
            let mut worker = plugin.start().await;
            let server = parent(worker.pid());
            assert_eq!(worker.output(json!({"die": false})).await, worker.pid());
            assert_eq!(worker.error(json!({"die": true})).await.kind, ErrorKind::Crashed);
            assert!(alive(server));
        }
        assert_eq!(modes(&plugin), [LOADED]);
    }
}

#[tokio::test]
async fn a_copy_that_never_gets_ready_is_the_last_one() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(60))\ndef invoke(data): return 1\n",
    );
    let start = tokio::time::timeout(Duration::from_secs(3), plugin.try_start());
    assert!(start.await.is_err());
    let mut worker = plugin.start().await;
    assert_eq!(worker.output(json!({})).await, 1);
    assert_eq!(refusal(&plugin), "a copy of the loaded plugin did not get ready");
}

#[tokio::test]
async fn what_does_not_start_at_all_is_not_blamed_on_copying() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import os\ndef on_start(): os._exit(33)\ndef invoke(data): return 1\n");
    for starts in [2, 1] {
        let error = plugin.try_start().await.err().unwrap();
        assert_eq!(error.message, "the worker was not ready yet and ended with exit code 33");
        assert_eq!(plugin.start_spans.lock().unwrap().len(), starts, "spawned once to make sure");
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_be_loaded_says_where() {
    if !require("python3") {
        return;
    }
    for (source, message) in [
        ("import absent_module\n", "ModuleNotFoundError: No module named 'absent_module' (executor.py:1)"),
        ("import os\nos._exit(7)\n", "the worker was not ready yet and ended with exit code 7"),
        ("import os\nos.kill(os.getpid(), 11)\n", "the worker was not ready yet and was killed by SIGSEGV"),
        ("def other(): pass\n", "executor.py has no function `invoke`; it defines other"),
    ] {
        let plugin = Plugin::new(source);
        let error = plugin.try_start().await.err().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, message));
        assert_eq!(modes(&plugin), [LOADING]);
    }
}

#[tokio::test]
async fn the_death_of_the_server_is_the_death_of_its_copies_and_no_more() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(data): return 'fine'\n");
    let mut worker = plugin.start().await;
    let server = parent(worker.pid());
    let pid = rustix::process::Pid::from_raw(server.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the copy is gone", PATIENCE, || !worker.instance.reusable()).await;
    assert_eq!(worker.error(json!({})).await.kind, ErrorKind::Crashed);
    let mut next = plugin.start().await;
    assert_eq!(modes(&plugin), [LOADING]);
    assert_ne!(parent(next.pid()), server);
    assert_eq!(next.output(json!({})).await, "fine");
}

#[tokio::test]
async fn processes_and_pickles_work_in_copies() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import concurrent.futures, multiprocessing, os, pickle, subprocess

class Thing:
    def __init__(self, n): self.n = n

def square(n): return n * n

def invoke(data):
    found = {}
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            found[method] = list(pool.map(square, [1, 2, 3]))
    found["pickle"] = pickle.loads(pickle.dumps(Thing(7))).n
    found["subprocess"] = subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout
    return found
"#,
    );
    let mut worker = plugin.start().await;
    assert_eq!(
        worker.output(json!({})).await,
        json!({"fork": [1, 4, 9], "spawn": [1, 4, 9], "pickle": 7, "subprocess": "hello\n"})
    );
}

#[tokio::test]
async fn what_copies_leave_behind_is_killed_at_once() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import os, time
def invoke(data):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            time.sleep(60)
            os._exit(0)
        # Not by the daemon: once it has no parent, it may be killed before it has written anything.
        os.write(write, str(daemon).encode())
        os._exit(0)
    daemon = int(os.read(read, 20))
    print(daemon)
    os._exit(1) if data["die"] else time.sleep(60)
"#,
    );
    let mut worker = plugin.start().await;
    let (guest, result) = worker.call(json!({"die": true})).await;
    assert_eq!(result.unwrap_err().message, "the worker ended with exit code 1");
    let daemon: u32 = guest.seen.logs[0].body.parse().unwrap();
    eventually("the daemon is gone", Duration::from_secs(2), || !alive(daemon)).await;
    assert_eq!(guest.seen.logs[0].severity, Severity::Info);
}

/// What a pool says of its starts.
struct Refusals(std::sync::Mutex<Vec<String>>);

impl PoolObserver for Refusals {
    fn instances(&self, _: InstanceState, _: i64) {}
    fn exited(&self, _: ExitReason) {}
    fn started(&self, _: Option<u32>, _: Duration) {}
    fn start_failed(&self, _: &spanglass::model::error::InvokeError, _: Duration) {}
    fn fork_refused(&self, why: &str) {
        self.0.lock().unwrap().push(why.into());
    }
}

#[tokio::test]
async fn a_refusal_is_said_once_and_can_be_asked_for() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import socket\nheld = socket.socket()\ndef invoke(data): return 1\n");
    let observed = std::sync::Arc::new(Refusals(std::sync::Mutex::default()));
    let pool = Pool::new(plugin.launcher.clone(), PoolSettings::new(0, 2), observed.clone());
    assert_eq!(pool.start_mode(), None);
    let first = pool.acquire(&mut |_| {}).await.unwrap();
    let second = pool.acquire(&mut |_| {}).await.unwrap();
    drop((first, second));
    assert_eq!(observed.0.lock().unwrap().len(), 1);
    let mode = pool.start_mode().unwrap();
    assert_eq!((mode.as_str(), mode.why().unwrap().contains("socket")), ("spawn", true));
    pool.stop(PATIENCE).await;
}
