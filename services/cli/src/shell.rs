//! `lastseen completions` and `lastseen man`: what shells and manuals need to know of the commands.

use std::fs;
use std::io;

use anyhow::Context;
use clap::CommandFactory;

use crate::Outcome;
use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::stdout::outln;

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "lastseen", &mut script);
    outln!("{}", String::from_utf8_lossy(&script).trim_end());
    Outcome::Done
}

/// Writes a manual page for each command.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<Outcome> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(&args.to)?;
        clap_mangen::generate_to(Args::command(), &args.to)
    };
    write().with_context(|| format!("cannot write manual pages to {}", args.to.display()))?;
    outln!(
        "wrote manual pages to {}; man -l {}/lastseen.1 shows the first",
        args.to.display(),
        args.to.display()
    );
    Ok(Outcome::Done)
}
