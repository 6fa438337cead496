//! The series with real telemetry before them and a real file behind.

use std::time::Duration;

use super::*;
use crate::model::error::InvokeError;
use crate::model::invocation::{Origin, Usage};
use crate::model::kind::ErrorKind;
use crate::store::testing::{TestChild, TinyDisk, child_folder, say, until};
use crate::telemetry::{Begin, Ending, Settings};

const PATIENCE: Duration = Duration::from_secs(20);

/// Telemetry that counts into the series of a folder.
struct Scene {
    telemetry: Telemetry,
    series: Series,
    _store: Store,
}

impl Scene {
    fn open(folder: &std::path::Path) -> Scene {
        Scene::with(folder, Duration::from_millis(20))
    }

    fn with(folder: &std::path::Path, save_every: Duration) -> Scene {
        let store = Store::open(folder, PATIENCE).unwrap();
        let settings = SeriesSettings { save_every, ..SeriesSettings::default() };
        let series = Series::open(&store, &settings).unwrap();
        let telemetry = Telemetry::start(Settings::default(), vec![Box::new(series.sink())]).unwrap();
        series.report_to(&telemetry);
        Scene { telemetry, series, _store: store }
    }

    fn call(&self, version: &str, error: Option<ErrorKind>) {
        let mut call = self.telemetry.begin(Begin {
            plugin: "echo".into(),
            action: "invoke".into(),
            parent: None,
            origin: Origin::Network,
        });
        call.bind(self.telemetry.plugin("echo", version, "python", &["invoke"]));
        call.attempt();
        let usage = Usage { cpu: Duration::from_millis(2), memory_peak_bytes: 9 << 20, ..Usage::default() };
        match error.map(|kind| InvokeError::new(kind, "it went wrong")) {
            None => call.finish(Ending::Replied { usage }),
            Some(error) => call.finish(Ending::Failed { error: &error, usage }),
        };
        assert!(self.telemetry.flush(PATIENCE));
    }

    /// What was counted before is in the file.
    fn written(&self) {
        // The round that is under way may have begun before.
        let rounds = self.series.shared.state().rounds;
        until("it is written", || self.series.shared.state().rounds >= rounds + 2);
    }

    /// Of all versions, over the last minutes, at a width.
    fn sum(&self, step_s: u32) -> Slot {
        let until = unix_s(SystemTime::now()) + 1;
        let filter = SeriesFilter { sum: true, from: until - 800, until, step_s, ..SeriesFilter::default() };
        let mut sum = Slot::default();
        for line in self.series.lines(&filter).lines {
            line.steps.iter().for_each(|step| sum.add(step));
        }
        sum
    }
}

#[test]
fn calls_are_counted_by_version_and_the_last_error_can_be_looked_at() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    scene.call("1.0.0", None);
    scene.call("1.1.0", Some(ErrorKind::PluginError));
    scene.call("1.1.0", Some(ErrorKind::InvalidInput));
    let until = unix_s(SystemTime::now()) + 1;
    let filter = SeriesFilter { from: until - 60, until, step_s: 1, ..SeriesFilter::default() };
    let lines = scene.series.lines(&filter);
    let of = |version: &str| {
        let line = lines.lines.iter().find(|line| line.version.as_deref() == Some(version)).unwrap();
        assert_eq!(line.steps.len(), 60);
        let mut sum = Slot::default();
        line.steps.iter().for_each(|step| sum.add(step));
        (sum.calls, sum.errors, sum.refused, sum.attempted())
    };
    assert_eq!((of("1.0.0"), of("1.1.0")), ((1, 0, 0, 1), (2, 1, 1, 2)));
    let error = scene.series.last_error("echo", None).unwrap();
    assert_eq!((error.kind, &*error.message), (Some(ErrorKind::PluginError), "it went wrong"));
    assert_eq!(scene.series.last_error("echo", Some("1.0.0")), None);
    let only = SeriesFilter { version: Some("1.0.0".into()), ..filter };
    assert_eq!(scene.series.lines(&only).lines.len(), 1);
}

#[test]
fn a_restart_keeps_them() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    scene.call("1.0.0", None);
    scene.call("1.1.0", Some(ErrorKind::Timeout));
    scene.series.set_note("alerts", "[]".into());
    let before = [scene.sum(1), scene.sum(10), scene.sum(60)];
    scene.series.close();
    drop(scene);
    let scene = Scene::open(temp.path());
    assert_eq!([scene.sum(1), scene.sum(10), scene.sum(60)], before);
    assert_eq!(scene.series.note("alerts").as_deref(), Some("[]"));
    // And they go on in the same steps.
    scene.call("1.0.0", None);
    let after = scene.sum(60);
    assert_eq!((after.calls, after.errors), (3, 1));
    scene.series.close();
    drop(scene);
    assert_eq!(Scene::open(temp.path()).sum(60), after);
}

#[test]
fn child_that_counts() {
    let Some(folder) = child_folder() else { return };
    let scene = Scene::open(&folder);
    for number in 1..=1_000_000_u32 {
        scene.call("1.0.0", None);
        scene.written();
        say(format_args!("{number}"));
    }
}

#[test]
fn a_kill_loses_no_more_than_was_not_written() {
    let temp = tempfile::tempdir().unwrap();
    let mut child = TestChild::start("store::series::tests::child_that_counts", temp.path());
    child.hear().expect("the child counts");
    child.hear().expect("the child counts");
    let said = child.kill();
    let said: u32 = said.last().map_or(2, |last| last.parse().unwrap());
    let scene = Scene::open(temp.path());
    let kept = scene.sum(60).calls;
    assert!((said..=said + 1).contains(&kept), "{kept} of {said}");
    assert_eq!(kept, scene.sum(1).calls);
}

#[test]
fn a_damaged_file_is_set_aside_and_counting_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    drop(Store::open(temp.path(), PATIENCE).unwrap());
    std::fs::write(temp.path().join("series.db"), [7; 8_192]).unwrap();
    let scene = Scene::open(temp.path());
    scene.call("1.0.0", None);
    let aside = std::fs::read_dir(temp.path()).unwrap().filter_map(Result::ok);
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("series.db.corrupt-"));
    assert_eq!(aside.count(), 1);
    scene.series.close();
    drop(scene);
    assert_eq!(Scene::open(temp.path()).sum(1).calls, 1);
}

#[test]
fn a_file_that_is_taken_away_is_written_anew_with_all() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    scene.call("1.0.0", None);
    scene.written();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(temp.path().join(format!("series.db{suffix}")));
    }
    scene.call("1.0.0", None);
    until("there is a new one", || temp.path().join("series.db").exists());
    scene.series.close();
    drop(scene);
    assert_eq!(Scene::open(temp.path()).sum(60).calls, 2);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing_that_is_in_memory() {
    let Some(disk) = TinyDisk::mount(768) else { return };
    let scene = Scene::open(disk.path());
    scene.call("1.0.0", None);
    let filler = disk.path().join("filler");
    // All the room there is.
    let _ = std::fs::write(&filler, vec![0; 4 << 20]);
    let mut versions = 0;
    until("the disk takes nothing", || {
        for _ in 0..20 {
            versions += 1;
            scene.call(&format!("1.0.{versions}"), None);
        }
        !scene.series.stats().writable
    });
    let counted = scene.sum(60).calls;
    assert_eq!(counted, versions + 1);
    std::fs::remove_file(&filler).unwrap();
    until("it is written again", || scene.series.stats().writable);
    scene.series.close();
    drop(scene);
    assert_eq!(Scene::open(disk.path()).sum(60).calls, counted);
}
