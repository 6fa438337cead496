//! The only unsafe code of this room: what must run between `fork` and `exec`, and system calls that have no
//! safe wrapper. Called by the supervisor alone, which has a single thread.
#![allow(unsafe_code, reason = "pre_exec, wait4 and dup2 onto fixed numbers have no safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

/// Descriptors on which a worker gets and sends its frames, and that by which a fork server is asked.
const FRAMES_IN: i32 = 3;
const FRAMES_OUT: i32 = 4;
const CONTROL: i32 = 5;
/// From here up this process inherits nothing.
const FIRST_FOREIGN: u32 = 6;
const SIGNAL_MAX: i32 = 64;

/// How a reaped process ended and what it used, its own reaped children included.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub cpu: Duration,
    pub memory_peak_kib: u64,
}

/// Closes everything that was inherited by accident and holds the numbers 3, 4 and 5 with /dev/null, so that
/// no descriptor opened later, the one by which `spawn` learns of a failed `exec` among them, lies there.
pub fn tidy_descriptors() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for number in [FRAMES_IN, FRAMES_OUT, CONTROL] {
        // SAFETY: nothing in this process owns these numbers: this runs first, before anything else is opened,
        // except `null`, which may lie there itself and is then left open by `dup2` onto itself.
        if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if null.as_raw_fd() <= CONTROL {
        // It is one of the three: it must stay open for as long as the process lives.
        std::mem::forget(null);
    }
    close_range(FIRST_FOREIGN, 0)
}

fn close_range(first: u32, flags: u32) -> io::Result<()> {
    // SAFETY: a plain system call without pointers. With flags 0 it is only called by `tidy_descriptors`,
    // before this process owns any descriptor above 5.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How long this process mostly runs when it wakes. The scheduler lets the short ones go first.
const SLICE: Duration = Duration::from_micros(100);
const NICE: i32 = -10;

/// Has the scheduler run this process soon after it wakes, on a machine whose processors are all taken: what
/// it looks for is what takes them. Not inherited by what it starts. Best effort: the slice needs no rights and
/// Linux 6.12, being preferred to others needs rights.
pub fn be_prompt() {
    // SAFETY: a plain system call without pointers. An error cannot be told from -1, which does no harm here.
    let own_nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // What it starts gets 0 again: so only where that is what it would have had.
    let preferred = if own_nice == 0 { NICE } else { own_nice };
    for nice in [preferred, own_nice] {
        // SAFETY: all zeros is a valid `sched_attr`: the ordinary policy.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        attributes.size = size_of::<libc::sched_attr>().try_into().expect("it has some 50 bytes");
        attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
        attributes.sched_nice = nice;
        attributes.sched_runtime = SLICE.as_nanos().try_into().expect("it is short");
        // SAFETY: the pointer is to a live local of the size that it names.
        if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } == 0 {
            return;
        }
    }
}

/// Starts `command` in a process group of its own, with the descriptors as 3, 4 and, if there is one, 5. It
/// inherits no other, and it dies with this process, even if this process is killed.
pub fn spawn(
    command: &mut Command,
    frames_in: BorrowedFd<'_>,
    frames_out: BorrowedFd<'_>,
    control: Option<BorrowedFd<'_>>,
) -> io::Result<Child> {
    let (frames_in, frames_out) = (frames_in.as_raw_fd(), frames_out.as_raw_fd());
    let control = control.map(|control| control.as_raw_fd());
    let parent = rustix::process::getpid();
    let prepare = move || {
        // SAFETY: only async-signal-safe calls; the supervisor has one thread, so nothing is half done.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the line above: then no signal will come.
            if libc::getppid() != parent.as_raw_nonzero().get() {
                libc::_exit(1);
            }
            for signal in 1..=SIGNAL_MAX {
                // An error means that the signal cannot be changed or does not exist.
                libc::signal(signal, libc::SIG_DFL);
            }
            for (from, to) in [(frames_in, FRAMES_IN), (frames_out, FRAMES_OUT)] {
                if libc::dup2(from, to) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            if let Some(control) = control
                && libc::dup2(control, CONTROL) < 0
            {
                return Err(io::Error::last_os_error());
            }
        }
        let first = if control.is_some() { CONTROL + 1 } else { CONTROL };
        close_range(first.unsigned_abs(), libc::CLOSE_RANGE_CLOEXEC)
    };
    command.process_group(0);
    // SAFETY: see `prepare`; the descriptors are open until `spawn` has returned.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Reaps one child if it has ended. `None`: it still runs. An error: it is not a child of this process.
pub fn reap(pid: rustix::process::Pid) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: all zeros is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals.
    let result =
        unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, &raw mut usage) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => Ok(Some(Reaped {
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
            memory_peak_kib: usage.ru_maxrss.try_into().unwrap_or(0),
        })),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = time.tv_sec.try_into().unwrap_or(0);
    let micros: u64 = time.tv_usec.try_into().unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
