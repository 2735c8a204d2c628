//! A function's process, and what the kernel and valgrind know of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Process {
    /// Starts a program with these variables and no others, under callgrind if it has a file to
    /// write.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        program: &Path,
        variables: &BTreeMap<String, String>,
        callgrind: Option<&Path>,
    ) -> io::Result<Self> {
        let mut command = match callgrind {
            None => Command::new(program),
            Some(file) => {
                let mut valgrind = Command::new("valgrind");
                let file = format!("--callgrind-out-file={}", file.display());
                valgrind.args(["--tool=callgrind", &file, "--log-file=/dev/null"]).arg(program);
                valgrind
            }
        };
        command.env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        Ok(Self { child: command.spawn()?, started })
    }

    /// The time that the process has run on a processor.
    ///
    /// The scheduler counts it in nanoseconds; `utime` and `stime` come in steps of 10 ms.
    ///
    /// # Errors
    /// If the process has ended, or the kernel has no `schedstat`.
    pub(crate) fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut nanos = 0;
        for thread in fs::read_dir(self.proc("task"))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// The most memory that was resident at once, in KiB.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn peak_rss(&self) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("the process has no VmHWM")?.parse()?)
    }

    /// How the process ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the process waits.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) async fn idle(&self) -> Result<(), Box<dyn Error>> {
        let mut before = self.cpu()?;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.cpu()?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }

    /// Ends the process in such a way that callgrind writes its file.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn terminate(mut self) -> Result<(), Box<dyn Error>> {
        // A signal that can be handled needs `unsafe` or a crate; the shell has it built in.
        let script = format!("kill -TERM {}", self.child.id());
        if !Command::new("sh").args(["-c", &script]).status()?.success() {
            return Err("the process could not be ended".into());
        }
        self.child.wait()?;
        Ok(())
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line that a program prints with these arguments; `None` if it is not installed.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().filter(|_| output.status.success()).map(str::to_owned)
}

/// Reads the number of instructions from a file of callgrind.
pub(crate) fn instructions(callgrind: &str) -> Option<u64> {
    let totals = callgrind.lines().find_map(|line| line.strip_prefix("totals: "))?;
    totals.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_the_totals() {
        let file = "version: 1\nsummary: 7 1\n\nfn=(1) main\n1 5\n\ntotals: 2391145 12\n";
        assert_eq!(instructions(file), Some(2_391_145));
        assert_eq!(instructions("events: Ir\n"), None);
    }
}
