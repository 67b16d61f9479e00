//! The cost of a fold step, of a rolling count and of a look-up does not grow with the number of members, nor that of a
//! fold step with the memberships of a person. Counted in instructions: this program under
//! `valgrind --tool=callgrind`, with a hundred thousand members and with ten million.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail as a test does")]
#![expect(clippy::print_stdout, reason = "reports as the test runner does")]

mod steps;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const NAME: &str = "a_hundred_times_as_many_members_cost_no_more_a_step";
/// The arguments under which the program is the counted one.
const STEPS: &str = "steps";
const PERSON: &str = "person";

const FEW: u32 = 100_000;
const MANY: u32 = 10_000_000;

/// The most that a step among a hundred times as many members may cost, in percent: two levels of a tree
/// whose nodes divide by sixteen, seven steps of a search among a hundred times as many pages. A pass over
/// members would cost a hundred times as much.
const PERCENT_MAX: u64 = 150;

const MEMBERSHIPS: u32 = 20_000;

/// The most that a step of a person with so many memberships may cost, beside one with one: an index in place of none.
const PERSON_PERCENT_MAX: u64 = 300;

/// A process under callgrind that counts nothing yet.
struct Counted {
    process: Child,
    stdin: ChildStdin,
    out: PathBuf,
    dumps: usize,
}

impl Counted {
    fn control(&self, arguments: &[&str]) {
        let mut command = Command::new("callgrind_control");
        let done = command.args(arguments).arg(self.process.id().to_string()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Instructions since counting was switched on.
    fn dump(&mut self) -> u64 {
        self.control(&["--instr=off"]);
        self.control(&["--dump"]);
        self.dumps += 1;
        let dump = fs::read_to_string(self.out.with_extension(self.dumps.to_string())).unwrap();
        let total =
            dump.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap_or_else(|| panic!("{dump}"));
        total.trim().parse().unwrap()
    }
}

/// Counts the instructions of a thousand steps of each kind.
fn instructions(directory: &Path, steps: &str, members: u32) -> Vec<(String, u64)> {
    let out = directory.join(format!("callgrind-{steps}-{members}"));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--instr-atstart=no", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(std::env::current_exe().unwrap());
    command.arg(steps).arg(members.to_string());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut counted = Counted { process, stdin, out, dumps: 0 };
    let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
    let mut found = Vec::new();
    while let Some(kind) = lines.next() {
        counted.control(&["--instr=on"]);
        counted.go_on();
        lines.next().unwrap();
        found.push((kind, counted.dump()));
        counted.go_on();
    }
    assert!(counted.process.wait().unwrap().success());
    found
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(STEPS), Some(members)) => steps::run(members.parse().unwrap()),
        (Some(PERSON), Some(memberships)) => steps::run_persons(memberships.parse().unwrap()),
        // Whoever asks for other tests by name does not mean this one.
        (Some(name), _) if !name.starts_with('-') && !NAME.contains(name) => {}
        (Some("--list"), _) => println!("{NAME}: test"),
        _ => {
            println!("\nrunning 1 test");
            a_hundred_times_as_many_members_cost_no_more_a_step();
            println!("test {NAME} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n");
        }
    }
}

fn a_hundred_times_as_many_members_cost_no_more_a_step() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("skipped: no valgrind here to count instructions with");
        return;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let [one, of_many] =
        [1, MEMBERSHIPS].map(|memberships| instructions(&directory, PERSON, memberships).remove(0).1);
    eprintln!("person: {one} instructions a thousand with one membership, {of_many} with {MEMBERSHIPS}");
    assert!(one > 0 && of_many * 100 < one * PERSON_PERCENT_MAX, "{one} instructions, {of_many}");
    let [few, many] = [FEW, MANY].map(|members| instructions(&directory, STEPS, members));
    assert_eq!(few.len(), 3);
    for ((kind, few), (same, many)) in few.into_iter().zip(many) {
        assert_eq!(kind, same);
        eprintln!("{kind}: {few} instructions a thousand, {many} with many members");
        let is_bounded = few > 0 && many * 100 < few * PERCENT_MAX;
        assert!(is_bounded, "{kind}: {few} instructions with {FEW} members, {many} with {MANY}");
    }
}
