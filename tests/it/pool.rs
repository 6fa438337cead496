//! The pool with real workers: reuse, limits, crash loops, idle ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use spanglass::model::error::InvokeError;
use spanglass::model::hook::Hook;
use spanglass::model::kind::ErrorKind;
use spanglass::runtimes::StartNews;
use spanglass::runtimes::pool::{HookEnd, Lease, Pool, PoolObserver, PoolSettings};
use spanglass::telemetry::{ExitReason, InstanceState};

use crate::support::{PATIENCE, Plugin, TestGuest, alive, eventually, request, require};

#[derive(Default)]
struct Observed(Arc<Mutex<Counts>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    starting: i64,
    idle: i64,
    busy: i64,
    exits: Vec<ExitReason>,
    cold_starts: u32,
    crash_loops: Vec<u32>,
    hooks_begun: u32,
    /// Hooks outside of starts, and how they ended.
    hooks: Vec<(Hook, Result<(), String>)>,
}

impl Observed {
    fn now(&self) -> Counts {
        self.0.lock().unwrap().clone()
    }
}

impl PoolObserver for Observed {
    fn instances(&self, state: InstanceState, change: i64) {
        let mut counts = self.0.lock().unwrap();
        *match state {
            InstanceState::Starting => &mut counts.starting,
            InstanceState::Idle => &mut counts.idle,
            InstanceState::Busy => &mut counts.busy,
        } += change;
    }

    fn exited(&self, reason: ExitReason) {
        self.0.lock().unwrap().exits.push(reason);
    }

    fn started(&self, pid: Option<u32>, _: Duration) {
        assert!(pid.is_some());
        self.0.lock().unwrap().cold_starts += 1;
    }

    fn start_failed(&self, _: &InvokeError, _: Duration) {}

    fn crash_looping(&self, failures: u32, error: &InvokeError, retry_in: Duration) {
        assert!(!error.message.is_empty() && !retry_in.is_zero());
        self.0.lock().unwrap().crash_loops.push(failures);
    }

    fn hook(&self, hook: Hook) -> HookEnd {
        let counts = self.0.clone();
        counts.lock().unwrap().hooks_begun += 1;
        Box::new(move |ended| counts.lock().unwrap().hooks.push((hook, ended.map_err(str::to_owned))))
    }
}

fn pool(plugin: &Plugin, change: impl FnOnce(&mut PoolSettings)) -> (Arc<Pool>, Arc<Observed>) {
    let mut settings = PoolSettings::new(0, 2);
    change(&mut settings);
    let observed = Arc::new(Observed::default());
    (Pool::new(plugin.launcher.clone(), settings, observed.clone()), observed)
}

async fn output(lease: &mut Lease, input: serde_json::Value) -> String {
    let end = lease.call(request(input), &mut TestGuest::default()).await.unwrap();
    end.output.unwrap().get().to_owned()
}

#[tokio::test]
async fn instances_are_reused_bounded_and_counted() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import os\ndef invoke(data): return os.getpid()\n");
    let (pool, observed) = pool(&plugin, |_| {});
    let mut first = pool.acquire(&mut |_| {}).await.unwrap();
    assert!(first.cold_start.is_some());
    let mut second = pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!(observed.now(), Counts { busy: 2, cold_starts: 2, ..Counts::default() });
    let pid = output(&mut first.lease, json!({})).await;
    assert_ne!(output(&mut second.lease, json!({})).await, pid);

    // A third waits until one comes back, and gets that one.
    let mut log = |_| {};
    let mut third = Box::pin(pool.acquire(&mut log));
    let waiting = tokio::time::timeout(Duration::from_millis(20), &mut third).await;
    assert!(waiting.is_err());
    drop(first);
    let mut third = third.await.unwrap();
    assert_eq!((third.cold_start, output(&mut third.lease, json!({})).await), (None, pid));
    drop(second);
    drop(third);
    assert_eq!(observed.now(), Counts { idle: 2, cold_starts: 2, ..Counts::default() });
    pool.stop(PATIENCE).await;
    assert_eq!(observed.now().exits, [ExitReason::Stopped; 2]);
    assert_eq!(pool.acquire(&mut |_| {}).await.err().unwrap().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_worker_that_dies_in_a_call_is_replaced_at_once() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import os\ndef invoke(data):\n    if data['die']: os._exit(1)\n    return 1\n");
    let (pool, observed) = pool(&plugin, |_| {});
    for _ in 0..3 {
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        let error =
            acquired.lease.call(request(json!({"die": true})), &mut TestGuest::default()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Crashed);
    }
    assert_eq!(
        observed.now(),
        Counts { exits: vec![ExitReason::Crashed; 3], cold_starts: 3, ..Counts::default() }
    );

    // One that dies while idle is not handed out.
    let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
    let pid = acquired.lease.pid().unwrap();
    output(&mut acquired.lease, json!({"die": false})).await;
    drop(acquired);
    let process = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    eventually("it is dead", PATIENCE, || !alive(pid)).await;
    assert!(pool.acquire(&mut |_| {}).await.unwrap().cold_start.is_some());
}

#[tokio::test]
async fn a_worker_that_keeps_children_of_its_call_is_replaced_in_peace() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import subprocess\ndef invoke(data):\n    return subprocess.Popen(['sleep', '300']).pid\n",
    );
    let (pool, observed) = pool(&plugin, |_| {});
    for _ in 0..2 {
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        let pid = output(&mut acquired.lease, json!({})).await.parse().unwrap();
        eventually("the child is gone", PATIENCE, || !alive(pid)).await;
    }
    assert_eq!(
        observed.now(),
        Counts { exits: vec![ExitReason::Recycled; 2], cold_starts: 2, ..Counts::default() }
    );
}

#[tokio::test]
async fn a_call_dropped_after_its_deadline_is_a_timeout() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import time\ndef invoke(data): time.sleep(60)\n");
    let (pool, observed) = pool(&plugin, |_| {});
    for (deadline, reason) in [(10, ExitReason::Timeout), (60_000, ExitReason::Killed)] {
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        let mut call = request(json!({}));
        call.deadline = Duration::from_millis(deadline);
        let mut guest = TestGuest::default();
        let running = acquired.lease.call(call, &mut guest);
        assert!(tokio::time::timeout(Duration::from_millis(30), running).await.is_err());
        drop(acquired);
        assert_eq!(observed.now().exits.last(), Some(&reason));
    }
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_says_why() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import sys\nraise OSError('the disk is on fire')\n");
    let (pool, observed) = pool(&plugin, |_| {});
    let mut waits = Vec::new();
    for _ in 0..3 {
        let error = pool.acquire(&mut |_| {}).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        let wait = error.retry_after.unwrap();
        let starts = observed.now().exits.len();
        // Refused without a start, with the same reason.
        let error = pool.acquire(&mut |_| {}).await.err().unwrap();
        assert!(error.message.contains("the disk is on fire"), "{error}");
        assert!(error.retry_after.unwrap() <= wait);
        assert_eq!(observed.now().exits.len(), starts);
        waits.push(wait);
        tokio::time::sleep(wait).await;
    }
    assert_eq!(
        observed.now(),
        Counts { exits: vec![ExitReason::StartFailed; 3], crash_loops: vec![3], ..Counts::default() }
    );
    let trouble = pool.start_trouble().unwrap();
    assert_eq!((trouble.failures, trouble.retry_in), (3, None));
    assert!(trouble.error.message.contains("the disk is on fire"), "{trouble:?}");
    assert!(waits[0] >= Duration::from_millis(50) && waits[2] >= Duration::from_millis(200), "{waits:?}");
    // Once it works again, it is forgotten.
    std::fs::write(plugin.folder.join("executor.py"), "def invoke(data): pass\n").unwrap();
    pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!(pool.start_trouble(), None);
}

#[tokio::test]
async fn a_worker_that_never_gets_ready_is_given_up() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import time\nprint('still loading')\ntime.sleep(60)\n");
    let (pool, observed) = pool(&plugin, |settings| settings.start_timeout = Duration::from_secs(3));
    let mut logs = Vec::new();
    let error = pool.acquire(&mut |news| logs.push(news)).await.err().unwrap();
    assert_eq!(error.message, "the worker was not ready within 3s");
    assert!(
        matches!(&logs[..], [StartNews::Mode(_), StartNews::Log(log)] if log.body == "still loading"),
        "{logs:?}"
    );
    assert_eq!(observed.now().exits, [ExitReason::StartFailed]);
}

#[tokio::test]
async fn idle_instances_end_and_with_them_every_process() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(data): return 1\n");
    let (pool, observed) = pool(&plugin, |settings| {
        settings.instances_min = 1;
        settings.idle_timeout = Duration::from_millis(50);
    });
    let first = pool.acquire(&mut |_| {}).await.unwrap();
    let second = pool.acquire(&mut |_| {}).await.unwrap();
    let pids = [first.lease.pid().unwrap(), second.lease.pid().unwrap()];
    drop(first);
    drop(second);
    eventually("the older has ended", PATIENCE, || !alive(pids[0])).await;
    assert_eq!(
        observed.now(),
        Counts { idle: 1, exits: vec![ExitReason::Idle], cold_starts: 2, ..Counts::default() }
    );
    assert!(alive(pids[1]));
    let again = pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!((again.cold_start, again.lease.pid()), (None, Some(pids[1])));
    drop(again);
    drop(pool);
    eventually("nothing is left", PATIENCE, || !alive(pids[1])).await;
}

#[tokio::test]
async fn a_caller_who_leaves_during_a_start_blocks_nobody() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("import time\ntime.sleep(0.3)\ndef invoke(data): return 1\n");
    let (pool, observed) = pool(&plugin, |settings| settings.instances_max = 1);
    assert!(tokio::time::timeout(Duration::from_millis(100), pool.acquire(&mut |_| {})).await.is_err());
    assert_eq!(observed.now(), Counts { exits: vec![ExitReason::Killed], ..Counts::default() });
    let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!(output(&mut acquired.lease, json!({})).await, "1");
}

const CHECKED: &str = r#"
import os, time

def invoke(data): return os.getpid()

def health():
    word = open(os.path.join(os.path.dirname(__file__), "health.txt")).read()
    if word == "raise": raise OSError("the disk is on fire")
    if word == "sleep": time.sleep(60)
    if word == "slow":
        time.sleep(0.1)
        return True
    return word == "well"

def on_stop(ctx):
    if os.path.exists(os.path.join(os.path.dirname(__file__), "stubborn")): raise RuntimeError("I stay")
"#;

fn checked() -> Plugin {
    let plugin = Plugin::new(CHECKED);
    std::fs::write(plugin.folder.join("health.txt"), "well").unwrap();
    plugin
}

#[tokio::test]
async fn an_idle_instance_that_is_not_well_is_replaced() {
    if !require("python3") {
        return;
    }
    for (word, why) in [
        ("sick", "health said no"),
        ("raise", "health raised OSError: the disk is on fire"),
        ("sleep", "health was not answered within 300ms"),
    ] {
        let plugin = checked();
        let (pool, observed) = pool(&plugin, |settings| {
            settings.instances_max = 1;
            settings.health_every = Duration::from_millis(20);
            settings.health_timeout = Duration::from_millis(300);
        });
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        let pid: u32 = output(&mut acquired.lease, json!({})).await.parse().unwrap();
        drop(acquired);
        let well = (Hook::Health, Ok(()));
        eventually("it is asked again and again", PATIENCE, || observed.now().hooks.len() >= 3).await;
        assert!(observed.now().hooks.iter().all(|hook| *hook == well), "{:?}", observed.now());
        // It is still the same one, and it serves.
        let mut again = pool.acquire(&mut |_| {}).await.unwrap();
        assert_eq!((again.cold_start, output(&mut again.lease, json!({})).await), (None, pid.to_string()));
        drop(again);

        std::fs::write(plugin.folder.join("health.txt"), word).unwrap();
        eventually("it is gone", PATIENCE, || !alive(pid) && observed.now().idle == 0).await;
        let now = observed.now();
        assert_eq!((now.exits, now.busy), (vec![ExitReason::Unhealthy], 0));
        assert_eq!(now.hooks.last(), Some(&(Hook::Health, Err(why.to_owned()))));
        // A new one that is not well either has not started.
        let error = pool.acquire(&mut |_| {}).await.err().unwrap();
        assert_eq!(
            (error.kind, error.message),
            (ErrorKind::Unavailable, format!("the new instance is not well: {why}"))
        );
        assert_eq!(pool.start_trouble().unwrap().failures, 1);
        assert_eq!(observed.now().exits, [ExitReason::Unhealthy, ExitReason::StartFailed]);
    }
}

#[tokio::test]
async fn the_check_of_an_instance_takes_no_place_from_the_others() {
    if !require("python3") {
        return;
    }
    let plugin = checked();
    let (pool, observed) = pool(&plugin, |settings| settings.health_every = Duration::from_millis(1));
    std::fs::write(plugin.folder.join("health.txt"), "slow").unwrap();
    let busy = pool.acquire(&mut |_| {}).await.unwrap();
    let first = pool.acquire(&mut |_| {}).await.unwrap();
    let pid = first.lease.pid();
    drop(first);
    for round in 1..=3 {
        eventually("the idle one is being asked", PATIENCE, || observed.now().hooks_begun >= round).await;
        // Both places are taken: whoever comes now waits, and starts no third.
        let next = pool.acquire(&mut |_| {}).await.unwrap();
        assert_eq!((next.cold_start, next.lease.pid()), (None, pid));
    }
    drop(busy);
    eventually("the other one is asked as well", PATIENCE, || observed.now().hooks.len() > 4).await;
    assert_eq!((observed.now().cold_starts, observed.now().exits), (2, vec![]));
}

#[tokio::test]
async fn how_on_stop_went_is_told() {
    if !require("python3") {
        return;
    }
    for (stubborn, ended) in [(false, Ok(())), (true, Err("the worker ended with exit code 1".to_owned()))] {
        let plugin = checked();
        if stubborn {
            std::fs::write(plugin.folder.join("stubborn"), "").unwrap();
        }
        let (pool, observed) = pool(&plugin, |_| {});
        drop(pool.acquire(&mut |_| {}).await.unwrap());
        pool.stop(PATIENCE).await;
        assert_eq!(observed.now().hooks, [(Hook::OnStop, ended)]);
        assert_eq!(observed.now().exits, [ExitReason::Stopped]);
    }
}

const PID: &str =
    "import os, time\ndef invoke(data):\n    time.sleep(data.get('seconds', 0))\n    return os.getpid()\n";

#[tokio::test]
async fn who_waits_gets_the_first_instance_that_is_free_in_order_of_arrival() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(PID);
    let (pool, observed) = pool(&plugin, |settings| (settings.instances_max, settings.calls_max) = (1, 1));
    let only = pool.acquire(&mut |_| {}).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..4 {
        let (pool, order) = (pool.clone(), order.clone());
        let mut wait = Box::pin(async move {
            let acquired = pool.acquire(&mut |_| {}).await.unwrap();
            order.lock().unwrap().push(number);
            assert_eq!(acquired.cold_start, None);
        });
        // In the queue before the next one comes.
        assert!(tokio::time::timeout(Duration::from_millis(2), &mut wait).await.is_err());
        waiting.push(Some(wait));
    }
    // The second leaves: nobody waits for him.
    waiting[1] = None;
    drop(only);
    futures_util::future::join_all(waiting.into_iter().flatten()).await;
    assert_eq!(*order.lock().unwrap(), [0, 2, 3]);
    assert_eq!(observed.now(), Counts { idle: 1, cold_starts: 1, ..Counts::default() });
    pool.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_stuck_worker_delays_nobody() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(PID);
    let (pool, observed) = pool(&plugin, |_| {});
    // What calls and starts take is known after these.
    for _ in 0..3 {
        output(&mut pool.acquire(&mut |_| {}).await.unwrap().lease, json!({})).await;
    }
    assert_eq!(observed.now().cold_starts, 1);
    let mut stuck = pool.acquire(&mut |_| {}).await.unwrap();
    let (pool_too, calling) = (pool.clone(), Arc::new(tokio::sync::Notify::new()));
    let called = calling.clone();
    let stuck = tokio::spawn(async move {
        called.notify_one();
        output(&mut stuck.lease, json!({"seconds": 60})).await
    });
    calling.notified().await;
    let mut next = tokio::time::timeout(PATIENCE, pool_too.acquire(&mut |_| {})).await.unwrap().unwrap();
    output(&mut next.lease, json!({})).await;
    stuck.abort();
    drop(next);
    pool.stop(PATIENCE).await;
}

#[tokio::test]
async fn instances_are_replaced_after_their_share_of_calls_or_memory() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os\nkept = []\ndef on_stop(): print('stopping')\n\
         def invoke(data):\n    kept.append('x' * data.get('bytes', 0))\n    return os.getpid()\n",
    );
    let (pool, observed) = pool(&plugin, |settings| {
        settings.calls_per_life = Some(3);
        settings.memory_peak_max = Some(256 << 20);
    });
    let mut pids = Vec::new();
    for bytes in [0, 0, 0, 0, 300 << 20, 0] {
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        pids.push(output(&mut acquired.lease, json!({"bytes": bytes})).await);
    }
    assert!(pids[0] == pids[1] && pids[1] == pids[2] && pids[2] != pids[3], "three calls: {pids:?}");
    assert!(pids[3] == pids[4] && pids[4] != pids[5], "too much memory: {pids:?}");
    assert_eq!(observed.now().exits, [ExitReason::Recycled; 2]);
    let stopped = || observed.now().hooks.iter().filter(|hook| **hook == (Hook::OnStop, Ok(()))).count();
    eventually("both were stopped in good order", PATIENCE, || stopped() == 2).await;
    pool.stop(PATIENCE).await;
}

#[tokio::test]
async fn each_call_gets_a_fresh_instance_that_was_started_before_it_came() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os\ncalls = []\ndef invoke(data):\n    calls.append(1)\n    return [os.getpid(), len(calls)]\n",
    );
    let (pool, observed) = pool(&plugin, PoolSettings::one_call_each);
    let mut pids = std::collections::BTreeSet::new();
    let mut cold = 0;
    for _ in 0..10 {
        eventually("one is ready", PATIENCE, || cold == 0 || observed.now().idle > 0).await;
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        cold += u32::from(acquired.cold_start.is_some());
        let output: serde_json::Value =
            serde_json::from_str(&output(&mut acquired.lease, json!({})).await).unwrap();
        assert_eq!(output[1], 1, "nothing is left of another call");
        assert!(pids.insert(output[0].to_string()), "{pids:?}");
    }
    assert_eq!(cold, 1, "only the first waited for a start");
    let recycled = || observed.now().exits.iter().filter(|reason| **reason == ExitReason::Recycled).count();
    assert_eq!(recycled(), 10);
    pool.stop(PATIENCE).await;
    eventually("all are gone", PATIENCE, || pids.iter().all(|pid| !alive(pid.parse().unwrap()))).await;
}

#[tokio::test]
async fn a_warm_pool_has_its_instances_before_the_first_call_and_keeps_them() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(PID);
    let (pool, observed) = pool(&plugin, |settings| {
        settings.instances_min = 1;
        settings.idle_timeout = Duration::from_millis(200);
    });
    // As many as served the version before; then those beyond the minimum go.
    pool.warm(2);
    eventually("both are there", PATIENCE, || observed.now().idle == 2).await;
    eventually("one has gone", PATIENCE, || observed.now().idle == 1).await;
    let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!(acquired.cold_start, None);
    let pid: u32 = output(&mut acquired.lease, json!({})).await.parse().unwrap();
    drop(acquired);
    let victim = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    eventually("it is dead", PATIENCE, || !alive(pid)).await;
    let mut next = pool.acquire(&mut |_| {}).await.unwrap();
    assert_ne!(output(&mut next.lease, json!({})).await, pid.to_string());
    pool.stop(PATIENCE).await;
    drop(next);
    eventually("none is left", PATIENCE, || observed.now().idle == 0 && observed.now().busy == 0).await;
}

#[tokio::test]
async fn who_waits_hears_of_failed_starts_and_of_the_end() {
    if !require("python3") {
        return;
    }
    // The first instance starts, the second does not.
    let plugin = Plugin::new(
        "import os, time\ndef on_start():\n    os.mkdir(os.path.dirname(__file__) + '/there')\n\
         def invoke(data): time.sleep(data['seconds'])\n",
    );
    let (pool, _) = pool(&plugin, |_| {});
    let only = pool.acquire(&mut |_| {}).await.unwrap();
    let error = pool.acquire(&mut |_| {}).await.err().unwrap();
    assert!(error.message.starts_with("FileExistsError"), "{error}");
    let mut log = |_| {};
    let mut waiting = Box::pin(pool.acquire(&mut log));
    assert!(tokio::time::timeout(Duration::from_millis(5), &mut waiting).await.is_ok(), "starting pauses");
    drop(waiting);
    drop(only);
    let only = pool.acquire(&mut |_| {}).await.unwrap();
    assert_eq!(only.cold_start, None);
    let (mut first, mut second) = (|_| {}, |_| {});
    let waiting = futures_util::future::join(pool.acquire(&mut first), pool.acquire(&mut second));
    let stop = async {
        tokio::task::yield_now().await;
        pool.stop(PATIENCE).await;
    };
    let ((one, two), ()) = futures_util::future::join(waiting, stop).await;
    for ended in [one, two] {
        assert_eq!(ended.err().unwrap().kind, ErrorKind::Unavailable);
    }
    drop(only);
}

/// Ended by its supervisor while nobody calls it: whoever comes next gets another one, and the reason is told.
#[tokio::test]
async fn idle_workers_that_stand_still_or_grow_are_replaced() {
    if !require("python3") {
        return;
    }
    let source = r#"
import os, signal, threading, time

def grow():
    held = []
    while len(held) < 1000: held.append(b"x" * (1 << 20))
    time.sleep(60)

def stop():
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGSTOP)

def invoke(data):
    if data["how"] == "fine": return 1
    threading.Thread(target=globals()[data["how"]], daemon=True).start()
    return 0
"#;
    let plugin = Plugin::new(source);
    let (pool, observed) = pool(&plugin, |_| {});
    for (how, reason) in [("stop", ExitReason::Killed), ("grow", ExitReason::MemoryExceeded)] {
        let mut acquired = pool.acquire(&mut |_| {}).await.unwrap();
        let pid = acquired.lease.pid().unwrap();
        output(&mut acquired.lease, json!({"how": how})).await;
        drop(acquired);
        let gone = || !std::path::Path::new(&format!("/proc/{pid}")).exists();
        eventually("it is dead and buried", PATIENCE, gone).await;
        let mut next = pool.acquire(&mut |_| {}).await.unwrap();
        assert!(next.cold_start.is_some(), "{how}");
        assert_eq!(output(&mut next.lease, json!({"how": "fine"})).await, "1");
        assert_eq!(observed.now().exits.last(), Some(&reason), "{how}");
    }
    assert_eq!(observed.now().exits.len(), 2);
}

/// Stopped from outside and set going again: nobody is harmed.
#[tokio::test]
async fn a_worker_that_was_stopped_for_a_moment_lives_on() {
    if !require("python3") {
        return;
    }
    let plugin =
        Plugin::new("import time\ndef invoke(data):\n    time.sleep(data['seconds'])\n    return 1\n");
    let mut worker = plugin.start().await;
    let pid = rustix::process::Pid::from_raw(worker.pid().cast_signed()).unwrap();
    for _ in 0..3 {
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        eventually("it is stopped", PATIENCE, || state(worker.pid()) == Some('T')).await;
        // Less than a worker may stand still, and together more.
        tokio::time::sleep(Duration::from_millis(450)).await;
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        assert_eq!(worker.output(json!({"seconds": 0.3})).await, 1);
    }
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
