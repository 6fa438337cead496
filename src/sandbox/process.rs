//! What the kernel tells of a process, as text in `/proc`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// `stat` has some 300 bytes, and a list of 512 children less than this.
const READ_BYTES: usize = 8 << 10;
const PAGE_BYTES: usize = 4 << 10;
/// The line `stat` is longer than any other entry.
const ENTRY_BYTES_MAX: usize = 1 << 10;

/// The line `/proc/<pid>/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R` it runs, `S` it sleeps, `T` somebody has stopped it, `t` a debugger has, `Z` it is dead, …
    pub state: char,
    pub parent: i32,
    pub session: i32,
    /// These three change when it does something.
    pub faults: u64,
    pub ticks: u64,
    pub threads: u64,
    /// Memory in use; pages that it shares with others count whole.
    pub resident_bytes: u64,
}

impl Stat {
    pub fn of(pid: Pid) -> Option<Stat> {
        Stat::parse(&read(pid, "stat").ok()?)
    }

    /// `pid (name) state ppid …`; the name may hold anything, brackets and spaces too.
    pub fn parse(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(22).collect();
        let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            faults: number(7)?,
            ticks: number(11)? + number(12)?,
            threads: number(17)?,
            resident_bytes: number(21)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }
}

/// A file of `/proc` that is kept open. It never becomes that of another process with the same id.
#[derive(Debug)]
pub struct Kept(File);

impl Kept {
    pub fn open(pid: Pid, name: &str) -> io::Result<Kept> {
        File::open(path(pid, name)).map(Kept)
    }

    /// An error: the process has gone.
    pub fn read(&self) -> io::Result<String> {
        let mut buffer = vec![0; READ_BYTES];
        let mut length = 0;
        loop {
            let count = self.0.read_at(&mut buffer[length..], length as u64)?;
            length += count;
            // The kernel gives as many whole entries as fit into a page: with room left there are no more.
            if count < PAGE_BYTES - ENTRY_BYTES_MAX {
                break;
            }
            if length == buffer.len() {
                buffer.resize(2 * length, 0);
            }
        }
        buffer.truncate(length);
        String::from_utf8(buffer).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// The children that its first thread has started, or has been given.
pub fn children_of_first_thread(pid: Pid) -> io::Result<Kept> {
    Kept::open(pid, &format!("task/{}/children", pid.as_raw_pid()))
}

/// The children of all threads of a process.
pub fn children(pid: Pid, threads: u64) -> Vec<Pid> {
    let of_thread =
        |thread: &str| parse_pids(&read(pid, &format!("task/{thread}/children")).unwrap_or_default());
    if threads <= 1 {
        return of_thread(&pid.as_raw_pid().to_string());
    }
    let Ok(tasks) = std::fs::read_dir(path(pid, "task")) else { return Vec::new() };
    tasks.flatten().filter_map(|task| Some(of_thread(task.file_name().to_str()?))).flatten().collect()
}

pub fn parse_pids(text: &str) -> Vec<Pid> {
    text.split_ascii_whitespace().filter_map(parse_pid).collect()
}

pub fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// Memory in use, of a page that it shares with others only its part. `None`: the kernel does not say. It
/// costs much more than [`Stat`]: the kernel looks at each page.
pub fn fair_bytes(pid: Pid) -> Option<u64> {
    let text = read(pid, "smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// Not `read_to_string`, which asks for the size first, that is 0, and then gropes its way.
fn read(pid: Pid, name: &str) -> io::Result<String> {
    Kept::open(pid, name)?.read()
}

fn path(pid: Pid, name: &str) -> String {
    format!("/proc/{}/{name}", pid.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_line() {
        let line =
            "7 (a) S 1 2 (b) R 41 40 39 0 -1 4194304 1945 0 0 0 6 5 0 0 20 0 3 0 61034 17010688 10 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session), ('R', 41, 39));
        assert_eq!((stat.faults, stat.ticks, stat.threads), (1945, 11, 3));
        assert_eq!(stat.resident_bytes, 10 * rustix::param::page_size() as u64);
        for cut in 0..line.len() - 4 {
            let _ = Stat::parse(&line[..cut]);
        }
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_told_of() {
        let own = rustix::process::getpid();
        let stat = Stat::of(own).unwrap();
        assert!(stat.resident_bytes > 1 << 20 && stat.threads >= 1, "{stat:?}");
        let fair = fair_bytes(own).unwrap();
        assert!(fair > 1 << 18 && fair <= Stat::of(own).unwrap().resident_bytes + (16 << 20), "{fair}");
        let kept = Kept::open(own, "stat").unwrap();
        assert_eq!(Stat::parse(&kept.read().unwrap()).unwrap().parent, stat.parent);
    }
}
