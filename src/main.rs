//! The program. A supervisor of workers is the same binary under another first argument; it must be told
//! apart before any thread is started.

use std::process::ExitCode;

fn main() -> ExitCode {
    spanglass::sandbox::supervisor::main_if_asked();
    spanglass::app::main()
}
