//! The one binary of Lastseen: reads the command line, runs the command, answers with an exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage, 3 findings or refused rows, 130 stopped by a signal.

mod ahead;
mod args;
mod backfill;
mod backup;
mod cluster;
mod config;
mod demo;
mod import;
mod input;
mod keys;
mod lines;
mod listen;
mod logging;
#[cfg(feature = "otlp")]
mod otlp;
mod postgres;
mod progress;
mod relay;
mod replay;
mod restore;
mod serve;
mod shell;
mod signals;
mod simulate;
mod status;
mod stdout;
mod tally;
mod upload;
mod verify;
mod written;

use std::process::ExitCode;

use crate::args::Command;

/// Gives memory back after large requests. The system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The outcome of a command.
enum Outcome {
    Done,
    /// The command did its work and has something to report: refused rows, or what is wrong with a log.
    Findings,
    /// Stopped by SIGINT or SIGTERM before it was done.
    Interrupted,
}

fn main() -> ExitCode {
    let args = config::parse();
    lastseen_server::choose_cryptography();
    if args.quiet {
        progress::silence();
    }
    let outcome = match args.command {
        Command::Serve(serve) => serve::run(*serve),
        Command::Import(import) => import::run(import),
        Command::Backfill(backfill) => backfill::run(*backfill),
        Command::Listen(listen) => listen::run(&listen),
        Command::Relay(relay) => relay::run(&relay),
        Command::Simulate(simulate) => simulate::run(&simulate),
        Command::Demo(demo) => demo::run(&demo),
        Command::Verify(verify) => verify::run(&verify),
        Command::Replay(replay) => replay::run(&replay),
        Command::Keys(keys) => keys::run(keys),
        Command::Cluster(cluster) => cluster::run(&cluster),
        Command::Backup(backup) => backup::run(&backup),
        Command::Restore(restore) => restore::run(&restore),
        Command::Status(status) => status::run(&status),
        Command::Completions(shell) => Ok(shell::completions(&shell)),
        Command::Man(man) => shell::man(&man),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(3),
        Ok(Outcome::Interrupted) => ExitCode::from(signals::EXIT_CODE),
        Err(error) => {
            eprintln!("lastseen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
