//! CPU time and memory, from `/proc`.

use std::path::{Path, PathBuf};

/// Threads that work for telemetry, by name; all others serve calls.
const BACKGROUND: [&str; 3] = ["telemetry", "log-lines", "ledger"];

/// CPU nanoseconds of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// On threads that serve calls.
    pub calls: u64,
    /// On threads of telemetry and ledger.
    pub background: u64,
}

impl Spent {
    pub fn own() -> Spent {
        Spent::of(Path::new("/proc/self/task"))
    }

    pub fn of_process(pid: u32) -> Spent {
        Spent::of(&PathBuf::from(format!("/proc/{pid}/task")))
    }

    fn of(tasks: &Path) -> Spent {
        let mut spent = Spent::default();
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let ns = first_number(&read("schedstat"));
            // The first thread is named after the program, which may be called anything.
            let first = read("status").lines().any(|line| {
                let (tgid, pid) = (line.strip_prefix("Tgid:"), task.file_name());
                tgid.is_some_and(|tgid| tgid.trim() == pid.to_string_lossy())
            });
            if !first && BACKGROUND.contains(&read("comm").trim()) {
                spent.background += ns;
            } else {
                spent.calls += ns;
            }
        }
        spent
    }

    pub fn total(self) -> u64 {
        self.calls + self.background
    }

    pub fn since(self, before: Spent) -> Spent {
        Spent { calls: self.calls - before.calls, background: self.background - before.background }
    }
}

/// CPU nanoseconds of this thread. Exact only after the thread has slept.
pub fn thread_ns() -> u64 {
    first_number(&std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default())
}

/// Resident memory of this process.
pub fn resident_bytes() -> u64 {
    resident_bytes_of(std::process::id())
}

pub fn resident_bytes_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    first_number(line.trim()) * 1024
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Shared pages by their part.
    pub pss: u64,
    pub private: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Memory {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let sum = |names: &[&str]| {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            let mine = lines.filter(|(name, _)| names.contains(name));
            mine.map(|(_, rest)| first_number(rest.trim()) * 1024).sum()
        };
        Memory { pss: sum(&["Pss"]), private: sum(&["Private_Clean", "Private_Dirty"]) }
    }
}

/// All that descends from a process.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}
