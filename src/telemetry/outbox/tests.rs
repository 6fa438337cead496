//! Bodies are lists of numbers, so that what arrives can be compared with what was handed in: joined bodies are
//! joined lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::telemetry::Accounting;
use crate::telemetry::accounting::SignalAccount;
use crate::telemetry::queue::{Enabled, Queue};

const DAY: Duration = Duration::from_secs(86_400);

/// An outbox over a folder, and everything that was ever handed in and came out.
struct Scene {
    folder: tempfile::TempDir,
    bytes_max: u64,
    memory_bytes_max: usize,
    outbox: Outbox,
    book: Arc<Book>,
    next_record: u64,
    sent: Vec<u64>,
    /// Records that the processes before this one gave up.
    dropped_before: u64,
}

impl Scene {
    fn new(bytes_max: u64) -> Scene {
        Scene::with_memory(bytes_max, BUFFER_BYTES_MAX)
    }

    fn with_memory(bytes_max: u64, memory_bytes_max: usize) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let book = Arc::new(Book::default());
        let share = SpoolShare { folder: folder.path().join("spool"), bytes_max, age_max: DAY };
        let (outbox, _) = Outbox::open(Signal::Traces, book.clone(), memory_bytes_max, Some(share));
        Scene {
            folder,
            bytes_max,
            memory_bytes_max,
            outbox,
            book,
            next_record: 0,
            sent: Vec::new(),
            dropped_before: 0,
        }
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// As a process that is killed and started again. What was recovered.
    fn reopen(&mut self) -> Recovery {
        self.reopen_with(DAY)
    }

    fn reopen_with(&mut self, age_max: Duration) -> Recovery {
        self.dropped_before += account(&self.book).dropped_sum();
        self.book = Arc::new(Book::default());
        let share = SpoolShare { folder: self.spool(), bytes_max: self.bytes_max, age_max };
        let (outbox, recovery) =
            Outbox::open(Signal::Traces, self.book.clone(), self.memory_bytes_max, Some(share));
        self.outbox = outbox;
        recovery
    }

    /// `records` numbers, padded to about `bytes`.
    fn push(&mut self, records: u64, bytes: usize) {
        let mut body = Vec::new();
        for _ in 0..records {
            body.extend(self.next_record.to_le_bytes());
            self.next_record += 1;
        }
        while body.len() < bytes {
            body.extend(u64::MAX.to_le_bytes());
        }
        self.book.write(Signal::Traces, |page| page.produced(records));
        self.outbox.push(Batch { records, body: body.into() });
        self.account();
    }

    fn next(&mut self) -> Option<Vec<u64>> {
        let batch = self.outbox.next()?;
        let numbers = numbers(&batch.body);
        assert_eq!(numbers.len() as u64, batch.records);
        Some(numbers)
    }

    fn send_one(&mut self) -> bool {
        let Some(numbers) = self.next() else { return false };
        self.outbox.accepted(0);
        self.account();
        self.sent.extend(numbers);
        true
    }

    fn drain(&mut self) {
        while self.send_one() {}
    }

    fn account(&self) -> SignalAccount {
        let account = account(&self.book);
        assert!(account.balances(), "{account:?}");
        assert_eq!(account.spool_bytes, on_disk(&self.spool()), "{account:?}");
        account
    }
}

fn account(book: &Book) -> SignalAccount {
    let Accounting { traces, .. } = book.snapshot(&Queue::new(Enabled { traces: true, logs: true }));
    traces
}

fn numbers(body: &[u8]) -> Vec<u64> {
    let all = body.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    all.filter(|number| *number != u64::MAX).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).map(|all| all.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default();
    files.sort();
    files
}

fn on_disk(folder: &Path) -> u64 {
    files(folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[test]
fn what_is_handed_in_comes_out_in_order_and_leaves_nothing_behind() {
    let mut scene = Scene::new(1 << 30);
    for round in 0..50 {
        scene.push(1 + round % 7, 100);
        if round % 3 == 0 {
            scene.send_one();
        }
    }
    assert!(scene.account().spooled > 0 && scene.account().queued == 0);
    scene.drain();
    assert_eq!(scene.sent, (0..scene.next_record).collect::<Vec<_>>());
    assert!(files(&scene.spool()).is_empty());
    assert_eq!(scene.account().exported, scene.next_record);
}

#[test]
fn a_backlog_of_many_small_batches_is_sent_in_few_requests() {
    let mut scene = Scene::new(1 << 30);
    (0..5_000).for_each(|_| scene.push(1, 1_000));
    let mut requests = 0;
    while scene.send_one() {
        requests += 1;
    }
    // 5,000 of 1,000 bytes, 256 KiB a request.
    assert!((19..25).contains(&requests), "{requests}");
    assert_eq!(scene.sent.len(), 5_000);
}

#[test]
fn a_killed_process_loses_nothing_that_was_spooled_and_repeats_one_request_at_most() {
    let mut scene = Scene::new(1 << 30);
    (0..20).for_each(|_| scene.push(3, 40_000));
    scene.send_one();
    let unsettled = scene.next().unwrap();
    let before = scene.account();
    assert_eq!(scene.reopen(), Recovery { records: before.spooled, problems: Vec::new() });
    let account = scene.account();
    assert_eq!((account.produced, account.recovered, account.spooled), (0, before.spooled, before.spooled));
    let again = scene.next().unwrap();
    assert_eq!(again, unsettled, "what was in flight when the process was killed is sent again");
    scene.outbox.postponed();
    scene.push(2, 10);
    scene.drain();
    assert_eq!(scene.sent, (0..62).collect::<Vec<_>>(), "old ones first, then new ones");
    assert_eq!(scene.account().exported, before.spooled + 2);
}

#[test]
fn a_kill_far_into_a_backlog_repeats_one_request_at_most() {
    // Segments of 2 MiB; those between the first and the last are closed until it is their turn.
    let mut scene = Scene::new(16 << 20);
    (0..400).for_each(|_| scene.push(1, 20_000));
    assert!(files(&scene.spool()).len() >= 3);
    (0..12).for_each(|_| assert!(scene.send_one()));
    let unsettled = scene.next().unwrap();
    scene.reopen();
    assert_eq!(scene.next().unwrap(), unsettled);
}

#[test]
fn at_the_bound_the_oldest_give_way_and_are_counted() {
    let mut scene = Scene::new(1 << 20);
    for _ in 0..500 {
        scene.push(2, 10_000);
        assert!(scene.account().spool_bytes <= 1 << 20);
    }
    let account = scene.account();
    assert_eq!(account.queued, 0);
    // Whole segments of an eighth: the bound is used well.
    assert!(account.spool_bytes > (1 << 20) * 3 / 4, "{account:?}");
    scene.drain();
    let first = scene.sent[0];
    assert_eq!(scene.sent, (first..1_000).collect::<Vec<_>>(), "the newest are all there");
    assert_eq!(scene.account().dropped[DropReason::SpoolFull as usize], first);
}

#[test]
fn what_is_being_sent_does_not_give_way() {
    let mut scene = Scene::new(1 << 20);
    scene.push(1, 10_000);
    scene.sent = scene.next().unwrap();
    (0..500).for_each(|_| scene.push(1, 10_000));
    assert!(scene.account().dropped_sum() > 0, "others gave way meanwhile");
    scene.outbox.accepted(0);
    scene.drain();
    // Its whole segment is there, and then the newest.
    assert_eq!((scene.sent[..3].to_vec(), scene.sent.last()), (vec![0, 1, 2], Some(&500)));
    assert!(scene.sent.is_sorted_by(|one, other| one < other));
    let account = scene.account();
    assert_eq!(account.exported, scene.sent.len() as u64);
    assert_eq!(account.dropped[DropReason::SpoolFull as usize], 501 - account.exported);
}

#[test]
fn a_lower_bound_holds_from_the_next_start_on() {
    let mut scene = Scene::new(16 << 20);
    (0..1_000).for_each(|_| scene.push(1, 10_000));
    scene.bytes_max = 4 << 20;
    assert_eq!(scene.reopen().records, 1_000);
    let account = scene.account();
    assert!(account.spool_bytes <= 4 << 20);
    assert_eq!(account.dropped[DropReason::SpoolFull as usize], 1_000 - account.spooled);
    scene.drain();
    assert_eq!(*scene.sent.last().unwrap(), 999);
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let mut scene = Scene::new(1 << 30);
    (0..10).for_each(|_| scene.push(1, 1_000));
    let recovery = scene.reopen_with(Duration::from_secs(3_600));
    assert_eq!((recovery.records, scene.account().spooled), (10, 10), "not old enough");
    let now = || clock::unix_ns() / 1_000_000;
    let pushed = now();
    while now() <= pushed + 1 {
        std::thread::yield_now();
    }
    scene.reopen_with(Duration::from_millis(1));
    assert_eq!(scene.account().dropped[DropReason::Expired as usize], 10);
    assert!(files(&scene.spool()).is_empty());
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_batches_in_memory_and_in_order() {
    let mut scene = Scene::new(1 << 20);
    // A file where the folder should be.
    fs::write(scene.spool(), "in the way").unwrap();
    let push = |scene: &mut Scene| {
        let mut body = scene.next_record.to_le_bytes().to_vec();
        body.resize(30_000, u8::MAX);
        scene.next_record += 1;
        scene.book.write(Signal::Traces, |page| page.produced(1));
        scene.outbox.push(Batch { records: 1, body: body.into() });
    };
    (0..6).for_each(|_| push(&mut scene));
    assert!(matches!(scene.outbox.disk(), Disk::Failed { no_room: false, .. }));
    let waiting = account(&scene.book);
    assert_eq!((waiting.queued, waiting.spooled, waiting.dropped_sum()), (6, 0, 0));
    let sent = scene.next().unwrap();
    // While the oldest is being sent from memory, nothing gets past it.
    fs::remove_file(scene.spool()).unwrap();
    scene.outbox.tick();
    assert_eq!(account(&scene.book).spooled, 0);
    scene.outbox.accepted(0);
    scene.outbox.tick();
    assert_eq!(*scene.outbox.disk(), Disk::Well);
    let spooled = scene.account();
    assert_eq!((spooled.queued, spooled.spooled), (0, 6 - sent.len() as u64));
    scene.sent = sent;
    scene.drain();
    assert_eq!(scene.sent, (0..6).collect::<Vec<_>>());
}

#[test]
fn memory_is_bounded_while_the_disk_fails_and_the_oldest_go_first() {
    let mut scene = Scene::with_memory(1 << 20, 100_000);
    (0..5).for_each(|_| scene.push(1, 10_000));
    // Nothing can be written any more, but what is there can be removed.
    let aside = scene.folder.path().join("aside");
    fs::rename(scene.spool(), &aside).unwrap();
    fs::write(scene.spool(), "in the way").unwrap();
    // The segment is still open, and as long as it has room it takes more.
    for number in 0..40 {
        let mut body = scene.next_record.to_le_bytes().to_vec();
        body.resize(10_000, u8::MAX);
        scene.next_record += 1;
        scene.book.write(Signal::Traces, |page| page.produced(1));
        scene.outbox.push(Batch { records: 1, body: body.into() });
        assert!(account(&scene.book).balances(), "{number}");
    }
    let full = account(&scene.book);
    assert!(full.dropped[DropReason::SpoolIo as usize] > 0, "{full:?}");
    assert!(full.queued <= 10 && full.spooled >= 5, "{full:?}");
    // More room would not have helped: what was on disk is still there.
    fs::remove_file(scene.spool()).unwrap();
    fs::rename(&aside, scene.spool()).unwrap();
    scene.outbox.tick();
    scene.drain();
    assert_eq!((scene.sent[..5].to_vec(), scene.sent.last()), (vec![0, 1, 2, 3, 4], Some(&44)));
    assert!(scene.sent.is_sorted_by(|one, other| one < other));
    assert_eq!(scene.sent.len() as u64 + scene.account().dropped_sum(), 45);
}

#[test]
fn a_number_that_is_taken_is_passed_over() {
    let mut scene = Scene::new(1 << 20);
    fs::create_dir_all(scene.spool().join("00000000000000000001.segment")).unwrap();
    let mut body = 0_u64.to_le_bytes().to_vec();
    body.resize(100, u8::MAX);
    scene.book.write(Signal::Traces, |page| page.produced(1));
    scene.outbox.push(Batch { records: 1, body: body.into() });
    assert_eq!((scene.outbox.disk(), account(&scene.book).spooled), (&Disk::Well, 1));
}

#[test]
fn what_cannot_be_read_now_is_asked_for_again_and_given_up_in_the_end() {
    let mut scene = Scene::new(1 << 20);
    scene.push(3, 100);
    scene.reopen();
    // Something that cannot be opened takes the file's place.
    let file = files(&scene.spool()).remove(0);
    let aside = scene.folder.path().join("aside");
    let hide = || {
        fs::rename(&file, &aside).unwrap();
        fs::create_dir(&file).unwrap();
    };
    hide();
    assert_eq!(scene.next(), None);
    assert!(scene.outbox.is_to_be_read_again() && matches!(scene.outbox.disk(), Disk::Failed { .. }));
    assert_eq!(account(&scene.book).spooled, 3);
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    assert_eq!(scene.next(), Some(vec![0, 1, 2]));
    scene.outbox.postponed();

    scene.reopen();
    hide();
    let asked =
        (0..1_000).take_while(|_| scene.next().is_none() && scene.outbox.is_to_be_read_again()).count();
    assert_eq!(asked, READS_MAX as usize);
    let account = account(&scene.book);
    assert!(account.balances());
    assert_eq!((account.dropped[DropReason::SpoolIo as usize], account.spooled), (3, 0));
}

#[test]
fn files_of_others_are_left_alone() {
    let mut scene = Scene::new(1 << 20);
    scene.push(1, 10);
    let names = ["5.segment", "+7.segment", "18446744073709551615.segment", "notes.txt"];
    let other_version = scene.spool().join("00000000000000000009.segment");
    let mut content = fs::read(&files(&scene.spool())[0]).unwrap();
    content[8] = 2;
    fs::write(&other_version, content).unwrap();
    for name in names {
        fs::write(scene.spool().join(name), "nonsense").unwrap();
    }
    let recovery = scene.reopen();
    assert_eq!((recovery.records, recovery.problems.len()), (1, 1), "{recovery:?}");
    assert!(recovery.problems[0].contains("another version"), "{recovery:?}");
    assert!(other_version.exists() && names.iter().all(|name| scene.spool().join(name).exists()));
    let mut body = 1_u64.to_le_bytes().to_vec();
    body.resize(100, u8::MAX);
    scene.book.write(Signal::Traces, |page| page.produced(1));
    scene.outbox.push(Batch { records: 1, body: body.into() });
    assert_eq!(account(&scene.book).spooled, 2);
}

#[test]
fn a_settled_place_that_is_not_before_a_frame_costs_repetition_and_no_loss() {
    let mut scene = Scene::new(1 << 30);
    (0..20).for_each(|_| scene.push(1, 100_000));
    scene.send_one();
    let file = files(&scene.spool()).remove(0);
    for settled in [3, 30, 1_000_000, u64::MAX] {
        let mut content = fs::read(&file).unwrap();
        content[16..24].copy_from_slice(&u64::to_le_bytes(settled));
        fs::write(&file, content).unwrap();
        assert_eq!(scene.reopen().records, 20, "{settled}");
    }
    scene.drain();
    assert_eq!(scene.sent[scene.sent.len() - 20..], (0..20).collect::<Vec<_>>());
}

#[test]
fn without_a_spool_the_end_drops_what_waits() {
    let book = Arc::new(Book::default());
    let (mut outbox, _) = Outbox::open(Signal::Traces, book.clone(), BUFFER_BYTES_MAX, None);
    book.write(Signal::Traces, |page| page.produced(7));
    outbox.push(Batch { records: 4, body: Bytes::from_static(b"four") });
    outbox.close();
    let account = account(&book);
    assert_eq!((account.dropped[DropReason::Shutdown as usize], account.queued), (7, 0));
}

#[test]
fn with_a_spool_the_end_loses_nothing() {
    let mut scene = Scene::new(1 << 20);
    scene.push(4, 10);
    scene.next().unwrap();
    scene.outbox.close();
    assert_eq!((scene.account().spooled, scene.account().dropped_sum()), (4, 0));
    assert_eq!(scene.reopen().records, 4);
}

#[test]
fn a_file_that_is_no_segment_is_told_and_removed() {
    let mut scene = Scene::new(1 << 20);
    scene.push(1, 10);
    fs::write(scene.spool().join("00000000000000000000.segment"), "nonsense").unwrap();
    fs::write(scene.spool().join("notes.txt"), "somebody's").unwrap();
    let recovery = scene.reopen();
    assert_eq!((recovery.records, recovery.problems.len()), (1, 1), "{recovery:?}");
    assert!(recovery.problems[0].contains("00000000000000000000.segment"), "{recovery:?}");
    assert!(scene.spool().join("notes.txt").exists(), "what is not ours is left alone");
}

#[test]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut scene = Scene::new(1 << 20);
    scene.push(1, 10);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scene.spool()), 0o700);
    assert_eq!(mode(&files(&scene.spool())[0]), 0o600);
}

#[derive(Clone, Debug)]
enum Step {
    Push { records: u64, bytes: usize },
    Accept,
    Refuse,
    Postpone,
    Kill,
    Stop,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u64..40, 0_usize..60_000).prop_map(|(records, bytes)| Step::Push { records, bytes }),
        3 => Just(Step::Accept),
        1 => Just(Step::Refuse),
        1 => Just(Step::Postpone),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        1 => Just(Step::Tick),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the book balances after each step (`Scene::account`), nothing comes
    /// out of order or is made up, and each record ends once.
    #[test]
    fn each_record_ends_once(steps in steps(), small in any::<bool>()) {
        let mut scene = Scene::new(if small { 1 << 19 } else { 1 << 26 });
        let mut refused = 0;
        for step in steps {
            match step {
                Step::Push { records, bytes } => scene.push(records, bytes),
                Step::Accept => { scene.send_one(); }
                Step::Refuse => if let Some(numbers) = scene.next() {
                    refused += numbers.len() as u64;
                    scene.outbox.refused();
                },
                Step::Postpone => if scene.next().is_some() {
                    scene.outbox.postponed();
                },
                Step::Kill => {
                    let spooled = scene.account().spooled;
                    // In flight when it happens.
                    scene.next();
                    prop_assert_eq!(scene.reopen().records, spooled);
                }
                Step::Stop => {
                    scene.outbox.close();
                    scene.reopen();
                }
                Step::Tick => scene.outbox.tick(),
            }
            scene.account();
        }
        scene.drain();
        prop_assert!(scene.sent.is_sorted_by(|one, other| one < other), "in order, and none twice");
        let dropped = scene.account().dropped_sum() + scene.dropped_before;
        prop_assert_eq!(scene.sent.len() as u64 + dropped, scene.next_record);
        prop_assert!(small || dropped == refused, "nothing is dropped without need");
        prop_assert_eq!(files(&scene.spool()).len(), 0);
    }

    /// Flipped bytes and files that are cut off: what comes out is genuine and in order, what does not is
    /// counted, as far as its header can be read.
    #[test]
    fn damage_is_found_and_counted(
        batches in proptest::collection::vec((1_u64..20, 0_usize..30_000), 1..30),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..), 0..6),
        cut in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut scene = Scene::new(1 << 20);
        for (records, bytes) in batches {
            scene.push(records, bytes);
        }
        let files = files(&scene.spool());
        for (file, place, bits) in flips {
            let file = file.get(&files);
            let mut content = fs::read(file).unwrap();
            let place = place.index(content.len());
            content[place] ^= bits;
            fs::write(file, content).unwrap();
        }
        if let Some((file, length)) = cut {
            let file = file.get(&files);
            let content = fs::read(file).unwrap();
            fs::write(file, &content[..length.index(content.len())]).unwrap();
        }
        let recovered = scene.reopen().records;
        prop_assert!(recovered <= scene.next_record);
        scene.drain();
        let account = scene.account();
        prop_assert_eq!(scene.sent.len() as u64 + account.dropped[DropReason::Corrupt as usize], recovered);
        prop_assert!(scene.sent.is_sorted_by(|one, other| one < other));
        prop_assert!(scene.sent.iter().all(|number| *number < scene.next_record));
    }
}
