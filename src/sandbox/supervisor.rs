//! The supervisor process: a hidden subcommand of the program. It starts workers, reports their ends, adopts
//! what they leave behind and kills it, and ends everything when the runner goes away, however that happens.
//!
//! It has one thread, holds nothing in memory that matters, and reads no plugin byte. Its control socket is
//! its standard input. A live process that is reparented sends no signal: hence the scan.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::memory::CALM_EVERY;
use super::process::{self, Kept, parse_pid};
use super::sys;
use super::watch::{self, Look, Watch};
use super::wire::{self, FromStarter, ToSupervisor};

/// The hidden first argument.
pub const SUBCOMMAND: &str = "__supervisor";

/// How often strangers are looked for while a worker runs. One scan costs about 13 µs.
const SCAN_EVERY: Duration = CALM_EVERY;
/// How soon the next look comes while a killed process is still there.
const DYING_EVERY: Duration = Duration::from_millis(1);
/// Kill, look, kill again: how often without a pause, against processes that fork while they are killed.
const SWEEP_ROUNDS_MAX: u32 = 16;
/// After the runner has gone: how long killing goes on before giving up on a process that cannot die.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Call first thing in `main`, before any thread is started. If this process is meant to be a supervisor, it
/// becomes one and the function does not return.
#[allow(clippy::exit, reason = "this process is nothing but a supervisor, and the supervisor has ended")]
pub fn main_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == SUBCOMMAND) {
        std::process::exit(i32::from(run().is_err()));
    }
}

fn run() -> io::Result<()> {
    sys::tidy_descriptors()?;
    // A session of its own: Ctrl-C in the terminal reaches only the runner.
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    sys::be_prompt();
    let stdin = io::stdin();
    let mut supervisor = Supervisor {
        control: stdin.as_fd(),
        workers: HashMap::new(),
        watches: HashMap::new(),
        unsent: VecDeque::new(),
        family: Family::new(),
        strangers: false,
    };
    let result = supervisor.serve();
    supervisor.farewell();
    result
}

struct Supervisor<'a> {
    control: BorrowedFd<'a>,
    /// Pidfds of the workers that have not been reaped.
    workers: HashMap<Pid, OwnedFd>,
    /// What the workers use, and other processes that the runner wants to be looked after.
    watches: HashMap<Pid, Watch>,
    /// Messages for which the runner's side had no room. At most three per worker.
    unsent: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    family: Family,
    /// Whether a killed stranger was still there at the last look.
    strangers: bool,
}

impl Supervisor<'_> {
    /// Runs until the runner has gone.
    fn serve(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; wire::MESSAGE_BYTES_MAX];
        let mut scan_at = Instant::now();
        loop {
            let (control, ended) = self.wait(scan_at)?;
            for pid in &ended {
                self.bury(*pid)?;
            }
            let mut sweep = !ended.is_empty() || self.strangers || Instant::now() >= scan_at;
            if control.contains(PollFlags::OUT) {
                self.flush()?;
            }
            if control.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                match wire::receive(self.control, &mut buffer)? {
                    None => return Ok(()),
                    Some((bytes, descriptors)) => match serde_json::from_slice(bytes)? {
                        ToSupervisor::Start { seq, argv, env, cwd, memory_bytes_max } => {
                            let started = self.start(&argv, env, cwd, descriptors);
                            if let Ok((pid, _)) = &started {
                                self.watch(*pid, memory_bytes_max);
                            }
                            self.report_start(seq, started)?;
                        }
                        ToSupervisor::Watch { pid, memory_bytes_max } => {
                            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                            let own = rustix::process::getpid();
                            if let Some(pid) = pid.filter(|pid| watch::is_below(pid.as_raw_pid(), own)) {
                                self.watch(pid, memory_bytes_max);
                            }
                        }
                        ToSupervisor::Sweep => sweep = true,
                    },
                }
            }
            if sweep {
                self.sweep();
                self.look()?;
                scan_at = Instant::now() + SCAN_EVERY;
            }
            // Who uses much, or ever more, is looked at before the next scan.
            scan_at = self.watches.values().map(Watch::look_at).fold(scan_at, Instant::min);
        }
    }

    fn watch(&mut self, pid: Pid, memory_bytes_max: u64) {
        // An error: it has ended already.
        if let Ok(watch) = Watch::new(pid, memory_bytes_max, Instant::now()) {
            self.watches.insert(pid, watch);
        }
    }

    /// Looks at those whose time has come, and ends those that use too much.
    fn look(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let due = self.watches.iter().filter(|(_, watch)| watch.is_due(now));
        for pid in due.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            let Some(mut watch) = self.watches.remove(&pid) else { continue };
            let watches = &self.watches;
            match watch.look(now, |other| watches.contains_key(&other)) {
                Look::Fine(_) => drop(self.watches.insert(pid, watch)),
                Look::Gone => {}
                Look::Breach(why) => {
                    // Said first: whoever sees it dead can know why.
                    self.send(&FromStarter::Condemned { pid: number(pid), why }, None)?;
                    let watches = &self.watches;
                    watch.kill(|other| watches.contains_key(&other));
                    self.watches.insert(pid, watch);
                }
            }
        }
        Ok(())
    }

    /// Waits for the runner, for a worker's end or for the next scan. Without any child it sleeps for good.
    fn wait(&self, scan_at: Instant) -> io::Result<(PollFlags, Vec<Pid>)> {
        let timeout = if self.strangers {
            Some(DYING_EVERY)
        } else if self.workers.is_empty() {
            None
        } else {
            Some(scan_at.saturating_duration_since(Instant::now()))
        };
        let timeout = timeout.map(|wait| Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut wanted = PollFlags::IN;
        if !self.unsent.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let mut polled = vec![PollFd::from_borrowed_fd(self.control, wanted)];
        let mut pids = Vec::with_capacity(self.workers.len());
        for (pid, pidfd) in &self.workers {
            polled.push(PollFd::new(pidfd, PollFlags::IN));
            pids.push(*pid);
        }
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = polled[1..].iter().zip(pids).filter(|(fd, _)| !fd.revents().is_empty());
        Ok((polled[0].revents(), ended.map(|(_, pid)| pid).collect()))
    }

    fn start(
        &mut self,
        argv: &[String],
        env: Vec<(String, String)>,
        cwd: std::path::PathBuf,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        let (program, arguments) = argv.split_first().ok_or_else(|| invalid("no program"))?;
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or_else(|| invalid("a descriptor is missing"));
        let (stdout, stderr, frames_in, frames_out) = (next()?, next()?, next()?, next()?);
        let control = descriptors.next();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(env).current_dir(cwd);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = sys::spawn(
            &mut command,
            frames_in.as_fd(),
            frames_out.as_fd(),
            control.as_ref().map(AsFd::as_fd),
        )?;
        let pid = child.id().try_into().ok().and_then(Pid::from_raw).expect("a child has a process id");
        // Not reaped yet, so the id is still its own.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let copy = pidfd.try_clone()?;
        self.workers.insert(pid, pidfd);
        Ok((pid, copy))
    }

    fn report_start(&mut self, seq: u64, started: io::Result<(Pid, OwnedFd)>) -> io::Result<()> {
        match started {
            Ok((pid, pidfd)) => self.send(&FromStarter::Started { seq, pid: number(pid) }, Some(pidfd)),
            Err(error) => self.send(&FromStarter::Failed { seq, error: error.to_string() }, None),
        }
    }

    /// Reaps a worker that has ended, with the rest of its process group, and reports it.
    fn bury(&mut self, pid: Pid) -> io::Result<()> {
        // Before it is reaped, while the id of the group cannot have been given to another.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        let Some(end) = sys::reap(pid)? else { return Ok(()) };
        self.workers.remove(&pid);
        self.watches.remove(&pid);
        let exit = FromStarter::Exit {
            pid: number(pid),
            code: end.code,
            signal: end.signal,
            cpu_us: end.cpu.as_micros().try_into().unwrap_or(u64::MAX),
            memory_peak_kib: end.memory_peak_kib,
        };
        self.send(&exit, None)
    }

    /// Kills every child that is not a worker: it was reparented to us when its parent died.
    fn sweep(&mut self) {
        self.strangers = true;
        for _ in 0..SWEEP_ROUNDS_MAX {
            let workers = &self.workers;
            if self.family.kill(|pid| !workers.contains_key(&pid)) == 0 {
                self.strangers = false;
                return;
            }
        }
    }

    /// The runner has gone: nothing stays.
    #[allow(clippy::disallowed_methods, reason = "one thread, and nothing left to wait for but deaths")]
    fn farewell(&mut self) {
        let start = Instant::now();
        while self.family.kill(|_| true) > 0 && start.elapsed() < FAREWELL_MAX {
            std::thread::sleep(DYING_EVERY);
        }
    }

    fn send(&mut self, message: &FromStarter, pidfd: Option<OwnedFd>) -> io::Result<()> {
        self.unsent.push_back((wire::encode(message)?, pidfd));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some((bytes, pidfd)) = self.unsent.front() {
            let descriptors: Vec<BorrowedFd<'_>> = pidfd.iter().map(AsFd::as_fd).collect();
            match wire::send(self.control, bytes, &descriptors) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// The children of this process, as the kernel lists them.
struct Family {
    /// `None`: a kernel without it makes us read every process's `stat`.
    list: Option<Kept>,
}

impl Family {
    fn new() -> Family {
        Family { list: process::children_of_first_thread(rustix::process::getpid()).ok() }
    }

    /// Kills or reaps the children that `condemned` picks; returns how many there were. The dead count too: what
    /// a process leaves behind becomes ours when it dies, which may be after the list was read.
    fn kill(&mut self, condemned: impl Fn(Pid) -> bool) -> usize {
        let mut found = 0;
        for pid in self.children().into_iter().filter(|pid| condemned(*pid)) {
            if let Ok(None) = sys::reap(pid) {
                // A child that has not been reaped keeps its id: this hits nobody else.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            found += 1;
        }
        found
    }

    fn children(&self) -> Vec<Pid> {
        match self.list.as_ref().map(Kept::read) {
            Some(Ok(list)) => process::parse_pids(&list),
            Some(Err(_)) | None => children_by_scan(),
        }
    }
}

fn children_by_scan() -> Vec<Pid> {
    let own = number(rustix::process::getpid()).to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |pid: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", number(*pid))).unwrap_or_default();
        // `pid (name) state ppid …`; the name may hold anything, brackets too.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(own.as_str())
    };
    let names = entries.flatten().filter_map(|entry| parse_pid(entry.file_name().to_str()?));
    names.filter(is_child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_listing_children_agree() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(children_by_scan().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_by_scan().contains(&pid));
    }
}
