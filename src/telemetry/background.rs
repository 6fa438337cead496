//! Threads that work beside the calls, and may be late: they step back where calls want the cores.

/// About a third of the weight of a thread that serves calls, where both want to run.
const NICE: i32 = 5;

/// Called at the beginning of such a thread. In Linux a thread has a priority of its own.
pub fn step_back() {
    // Not to be allowed to is no reason not to work.
    let _ = rustix::process::setpriority_process(None, NICE);
}
