//! A child process whose output is kept and that never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, setrlimit};

/// The signals that can be sent to a process.
pub use rustix::process::Signal;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// The exit code and the output of a process that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

/// The output of a process so far, collected by a thread.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    collector: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with an empty environment and collects what it writes.
    pub fn start(mut command: Command) -> Self {
        command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{command:?}: {error}"),
        };
        let stdout = Output::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin, which the command must have asked for as a pipe. Dropping it closes it.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin is piped and was not taken before")
    }

    /// Returns its stdout so far, whole lines only.
    pub fn stdout(&self) -> String {
        self.stdout.text.lock().expect("the collector does not panic").clone()
    }

    /// Returns its stderr so far, whole lines only.
    pub fn stderr(&self) -> String {
        self.stderr.text.lock().expect("the collector does not panic").clone()
    }

    /// True if it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of this process").is_some()
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the child was not waited for yet");
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub fn kill9(mut self) -> Ended {
        self.child.kill().expect("a child of this process");
        self.wait(Duration::from_mins(1))
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, within: Duration) -> Ended {
        let status = eventually(within, || self.child.try_wait().expect("a child of this process"));
        let Some(status) = status else { panic!("still running after {within:?}: {}", self.stderr()) };
        let [stdout, stderr] = [&mut self.stdout, &mut self.stderr].map(Output::finish);
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn collect(source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let collector = thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let mut kept = kept.lock().expect("nobody panics holding this");
                kept.push_str(&String::from_utf8_lossy(&line));
                kept.push('\n');
            }
        });
        Self { text, collector: Some(collector) }
    }

    /// All of it; the process must have ended.
    fn finish(&mut self) -> String {
        if let Some(collector) = self.collector.take() {
            collector.join().expect("the collector does not panic");
        }
        self.text.lock().expect("the collector does not panic").clone()
    }
}

/// Asks until there is an answer, at most for `within`.
pub fn eventually<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// Lets this process hold as many connections as the system allows.
///
/// # Panics
/// If the system does not take its own limit.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
}
