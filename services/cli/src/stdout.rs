//! The output of results.

use std::fmt;
use std::io::{self, Write as _};
use std::process;

use crate::signals;

/// Prints a line. Where nobody reads any more, the command ends as a signal would have ended it; where the line cannot be
/// written, it fails.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    self::text(format_args!("{text}\n"));
}

/// Prints a text, as [`line`] does.
pub(crate) fn text(text: fmt::Arguments<'_>) {
    let Err(error) = io::stdout().lock().write_fmt(text) else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        process::exit(signals::BROKEN_PIPE_EXIT_CODE);
    }
    eprintln!("lastseen: cannot write the result: {error}");
    process::exit(1);
}

/// Prints a line of a result to stdout.
macro_rules! outln {
    ($($text:tt)*) => { $crate::stdout::line(format_args!($($text)*)) };
}

/// Prints a text to stdout.
macro_rules! out {
    ($($text:tt)*) => { $crate::stdout::text(format_args!($($text)*)) };
}

pub(crate) use {out, outln};
