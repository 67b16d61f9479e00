//! `lastseen cluster`: sets up a cluster of `EventStoreDB` or `KurrentDB`.

use anyhow::Context;

use crate::Outcome;
use crate::args::{ClusterArgs, ClusterCommand, GrantArgs};
use crate::stdout::outln;

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<Outcome> {
    match &args.command {
        ClusterCommand::Grant(grant) => give(grant),
    }
}

/// Gives a user the right to read `$all`.
fn give(args: &GrantArgs) -> anyhow::Result<Outcome> {
    let cluster = args.store.config().context("--store ADDRESS is missing: the cluster")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start threads")?;
    runtime.block_on(lastseen_server::grant_read(&cluster, &args.user))?;
    outln!("{} may read all events of the cluster", args.user);
    Ok(Outcome::Done)
}
