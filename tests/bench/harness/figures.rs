//! Figures for people.

use std::fmt::Display;
use std::fs;
use std::time::Duration;

use indicatif::HumanCount;

/// In groups of three digits.
pub(crate) fn whole(figure: f64) -> String {
    HumanCount(figure as u64).to_string()
}

/// Resident memory of a process in bytes, where the system tells it: `VmRSS`, or the most that it was, `VmHWM`.
pub(crate) fn memory_bytes(process: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Time that a process spent on processors, where the system tells it: to a hundredth of a second.
pub(crate) fn processor_time(process: u32) -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    /// Fields between the name of the process and its time for itself.
    const BEFORE: usize = 11;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(BEFORE).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND)
}

/// Bytes in units of 2^20.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// A line of a table: what it is about, and a cell in every column.
pub(crate) fn print_row(name: &str, cells: impl IntoIterator<Item = impl Display>) {
    print!("{name:<52}");
    for cell in cells {
        print!(" {cell:>13}");
    }
    println!();
}
