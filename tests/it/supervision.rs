//! Nothing that a plugin starts outlives its worker, nor the runner.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::Home;
use crate::support::{PATIENCE, Plugin, TestGuest, alive, eventually, parent, read_pid, request, require};

/// What a killed worker leaves behind must be gone after this long.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Leaves behind: a child, a daemon of the usual kind and one whose parent still lives, none of which can be
/// ended by SIGTERM. Their pids are written to files in `folder`.
const FAMILY: &str = r#"
import os, signal, subprocess, sys, time

def stay(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(path + ".new", "w") as file: file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    while True: time.sleep(1)

def invoke(data):
    folder = data["folder"]
    if os.fork() == 0: stay(folder + "/child")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: stay(folder + "/daemon")
        # Once it has no parent, it may be killed before it has written its pid.
        while not os.path.exists(folder + "/daemon"): time.sleep(0.005)
        os._exit(0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: stay(folder + "/grandchild")
        stay(folder + "/session")
    with open(folder + "/worker", "w") as file: file.write(str(os.getpid()))
    if data["stay"]:
        while True: pass
    while not all(os.path.exists(folder + "/" + name) for name in data["names"]): time.sleep(0.005)
"#;
const NAMES: [&str; 5] = ["child", "daemon", "session", "grandchild", "worker"];

fn pids(folder: &Path) -> Option<Vec<u32>> {
    NAMES.iter().map(|name| read_pid(&folder.join(name))).collect()
}

/// The daemon has no parent, so the next scan finds it; when that comes is chance.
fn assert_all_but_the_daemon_live(pids: &[u32]) {
    for (name, pid) in NAMES.iter().zip(pids).filter(|(name, _)| **name != "daemon") {
        assert!(alive(*pid), "{name}");
    }
}

async fn all_gone(pids: &[u32]) {
    eventually("all are gone", GONE_WITHIN, || !pids.iter().any(|pid| alive(*pid))).await;
}

#[tokio::test]
async fn a_dropped_call_takes_the_whole_family_with_it() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(FAMILY);
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = plugin.start().await;
        let mut other = plugin.start().await;
        let mut guest = TestGuest::default();
        let mut call =
            worker.instance.call(request(json!({"folder": folder.path(), "stay": true})), &mut guest);
        let (start, mut found) = (Instant::now(), None);
        while found.is_none() {
            assert!(start.elapsed() < PATIENCE, "the family is not complete");
            let step = tokio::time::timeout(Duration::from_millis(5), &mut call).await;
            assert!(step.is_err(), "it never ends by itself");
            found = pids(folder.path());
        }
        let found = found.unwrap();
        assert_all_but_the_daemon_live(&found);
        drop(call);
        // Killed by the drop itself, before the instance is dropped.
        all_gone(&found).await;
        assert!(!worker.instance.reusable());
        // A neighbour under the same supervisor is not touched.
        assert!(other.instance.reusable());
        drop(worker);
        assert!(other.instance.reusable());
    }
}

#[tokio::test]
async fn what_a_good_call_leaves_without_a_parent_is_killed() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(FAMILY);
    let folder = tempfile::tempdir().unwrap();
    let mut worker = plugin.start().await;
    worker.output(json!({"folder": folder.path(), "stay": false, "names": &NAMES[..4]})).await;
    let daemon = read_pid(&folder.path().join("daemon")).unwrap();
    all_gone(&[daemon]).await;
    // Its own children are gone too, and the worker with them.
    all_gone(&pids(folder.path()).unwrap()).await;
    assert!(!worker.instance.reusable());
    assert!(worker.instance.retired());
}

#[tokio::test]
async fn a_child_that_outlives_its_call_ends_with_it() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import multiprocessing, os, subprocess, threading
from concurrent.futures import ProcessPoolExecutor

helper = subprocess.Popen(["sleep", "300"])

def square(n): return n * n

def invoke(data):
    how = data["how"]
    if how == "child": return subprocess.Popen(["sleep", "300"]).pid
    if how == "of a thread":
        started, pids = threading.Event(), []
        def run():
            pids.append(subprocess.Popen(["sleep", "300"]).pid)
            started.set()
            threading.Event().wait()
        threading.Thread(target=run, daemon=True).start()
        started.wait()
        return pids[0]
    if how == "raise":
        raise RuntimeError(subprocess.Popen(["sleep", "300"]).pid)
    if how == "waited for": return subprocess.run(["true"]).returncode
    if how == "helper": return helper.pid
    with ProcessPoolExecutor(2, multiprocessing.get_context(how)) as pool:
        return list(pool.map(square, range(4)))
"#,
    );
    for how in ["child", "of a thread", "raise"] {
        let mut worker = plugin.start().await;
        let (_, result) = worker.call(json!({"how": how})).await;
        let pid = match result {
            Ok(end) => end.output.unwrap().get().parse().unwrap(),
            Err(error) => error.message.rsplit_once(' ').unwrap().1.parse().unwrap(),
        };
        // Not by dropping the instance.
        eventually("the child is gone", GONE_WITHIN, || !alive(pid)).await;
        assert!(!worker.instance.reusable() && worker.instance.retired(), "{how}");
    }
    // What was started before the first call, has ended, or belongs to the interpreter, may stay.
    let mut worker = plugin.start().await;
    let helper = worker.output(json!({"how": "helper"})).await.as_u64().unwrap();
    for how in ["waited for", "fork", "spawn", "spawn"] {
        let (guest, result) = worker.call(json!({"how": how})).await;
        let expected = if how == "waited for" { "0" } else { "[0,1,4,9]" };
        assert_eq!(result.unwrap().output.unwrap().get(), expected, "{how}");
        assert_eq!(guest.seen.logs, [], "{how}");
        assert!(worker.instance.reusable(), "{how}");
    }
    assert!(alive(u32::try_from(helper).unwrap()));
}

#[tokio::test]
async fn a_worker_that_dies_by_itself_leaves_nothing_either() {
    if !require("python3") {
        return;
    }
    let source =
        FAMILY.replace("    while not all", "    import os; os.kill(os.getpid(), 9)\n    while not all");
    let plugin = Plugin::new(&source);
    let folder = tempfile::tempdir().unwrap();
    let mut worker = plugin.start().await;
    worker.error(json!({"folder": folder.path(), "stay": false, "names": []})).await;
    // Whoever got far enough to write its pid.
    let found: Vec<u32> = NAMES.iter().filter_map(|name| read_pid(&folder.path().join(name))).collect();
    all_gone(&found).await;
}

#[tokio::test]
async fn the_end_of_the_runner_is_the_end_of_everything() {
    if !require("python3") {
        return;
    }
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let runner = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "supervision::runner_for_the_test_above", "--ignored", "--nocapture"])
            .env(RUNNER_FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Killed)
            .unwrap();
        let mut found = None;
        eventually("the family is complete", PATIENCE, || {
            found = pids(folder.path());
            found.is_some()
        })
        .await;
        let found = found.unwrap();
        // The worker's parent is the fork server, whose parent is the supervisor.
        let fork_server = parent(found[4]);
        let supervisor = parent(fork_server);
        assert_all_but_the_daemon_live(&found);
        drop(runner);
        all_gone(&[&found[..], &[fork_server, supervisor]].concat()).await;
    }
}

/// A process that is killed when dropped, as `kill -9` does it.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const RUNNER_FOLDER: &str = "SPANGLASS_TEST_RUNNER_FOLDER";

#[tokio::test]
#[ignore = "the process that another test kills"]
async fn runner_for_the_test_above() {
    let Some(folder) = std::env::var_os(RUNNER_FOLDER).map(PathBuf::from) else { return };
    let plugin = Plugin::new(FAMILY);
    let mut worker = plugin.start().await;
    worker.output(json!({"folder": folder, "stay": true})).await;
}

#[tokio::test]
async fn a_dead_supervisor_is_replaced_and_its_workers_are_dead() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(data): return 'fine'\n");
    let mut worker = plugin.start().await;
    let supervisor = parent(parent(worker.pid()));
    let pid = rustix::process::Pid::from_raw(supervisor.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the worker is gone", GONE_WITHIN, || !worker.instance.reusable()).await;
    let error = worker.error(json!({})).await;
    assert_eq!(error.kind, spanglass::model::kind::ErrorKind::Crashed, "{error}");
    let mut next = plugin.start().await;
    assert_ne!(parent(parent(next.pid())), supervisor);
    assert_eq!(next.output(json!({})).await, "fine");
}

/// The workers die with it, by a signal of the kernel; what they had started does not.
#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_in_a_server() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("family", "", FAMILY).serve().await;
    for round in 0..3 {
        let folder = server.home.path().join(format!("family-{round}"));
        std::fs::create_dir(&folder).unwrap();
        let input = json!({"folder": folder, "stay": true});
        let call = server.client.invoke("family", input);
        let kill = async {
            eventually("the family is complete", PATIENCE, || pids(&folder).is_some()).await;
            let found = pids(&folder).unwrap();
            assert_all_but_the_daemon_live(&found);
            let supervisor = parent(parent(found[4]));
            assert_eq!(parent(supervisor), server.pid());
            let pid = rustix::process::Pid::from_raw(supervisor.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            all_gone(&found).await;
        };
        let (reply, ()) = tokio::join!(call, kill);
        assert_eq!((reply.status, &reply.json()["kind"]), (502, &json!("crashed")), "{}", reply.text());
    }
    let nobody = || server.descendants().is_empty();
    eventually("not even the dead are left", GONE_WITHIN, nobody).await;
}

#[tokio::test]
async fn the_supervisor_ends_with_its_last_worker() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::spawned("def invoke(data): return 'fine'\n");
    let first = plugin.start().await;
    let second = plugin.start().await;
    let supervisor = parent(first.pid());
    assert_eq!(parent(second.pid()), supervisor, "one for the deployment");
    drop(first);
    assert!(alive(supervisor));
    drop(second);
    eventually("it has ended", GONE_WITHIN, || !alive(supervisor)).await;
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_is_ended() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os, time\nopen(os.path.dirname(__file__) + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n",
    );
    let file = plugin.folder.join("pid");
    let mut launch = Box::pin(plugin.try_start());
    let (start, mut pid) = (Instant::now(), None);
    while pid.is_none() {
        assert!(start.elapsed() < PATIENCE, "it has not begun to load");
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut launch).await.is_err());
        pid = read_pid(&file);
    }
    drop(launch);
    all_gone(&[pid.unwrap()]).await;
}
