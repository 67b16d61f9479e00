//! The control socket: one command a line, one line of answer. `ok`, `ok` with a result, or `error` with a cause.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Cluster, NodeHandle};
use crate::faults::{AppendFault, Faults};

/// All commands, for people.
pub const COMMANDS: &str = "\
leader                       number of the node that leads
nodes                        state of each node: leader, follower, frozen, cut, unready, down
committed                    number of committed records
kill N, start N              ends the process of a node, and starts it
freeze N, thaw N             stops and continues a node whose connections stay open
cut N, heal N                parts a node from the others, and joins it to them
scavenge                     removes events that are no longer read; tells how many
empty                        ends all nodes, removes their files and starts them
fault NAME [after COUNT]     one append fails: drop-reply, drop, refuse, not-leader, not-leader-unknown,
                             aborted-stored, aborted
repeat-checkpoints COUNT     so many checkpoints come twice
end-subscriptions            all subscriptions end with OK
pause-reads MILLISECONDS     reads rest before each page
clear                        forgets all faults";

/// Serves commands on a socket at `path` for as long as the cluster is there. A socket that is there from before is replaced.
///
/// # Errors
/// The socket cannot be made.
pub fn serve_control(cluster: &Arc<Cluster>, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // The thread must not keep the cluster from ending with its owner.
    let cluster = Arc::downgrade(cluster);
    let accept = move || {
        for connection in listener.incoming() {
            let Some(cluster) = cluster.upgrade() else { return };
            // A caller that breaks off harms nobody; the next one is served.
            let _ = connection.and_then(|connection| answer(&cluster, &connection));
        }
    };
    std::thread::Builder::new().name("emulator-control".to_owned()).spawn(accept).map(drop)
}

fn answer(cluster: &Cluster, connection: &UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer = match execute(cluster, &line) {
            Ok(None) => "ok".to_owned(),
            Ok(Some(result)) => format!("ok {result}"),
            Err(cause) => format!("error {cause}"),
        };
        let mut connection = connection;
        writeln!(connection, "{answer}")?;
    }
    Ok(())
}

/// Sends one command to the socket at `path`; gives the answer.
///
/// # Errors
/// Nobody listens there, or it broke off.
pub fn send_control(path: &Path, command: &str) -> io::Result<String> {
    let mut connection = UnixStream::connect(path)?;
    writeln!(connection, "{command}")?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// Executes one command; gives its result, if it has one.
///
/// # Errors
/// The cause, in words.
pub fn execute(cluster: &Cluster, line: &str) -> Result<Option<String>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["leader"] => match cluster.leader() {
            Some(leader) => Ok(Some((leader + 1).to_string())),
            None => Err("no node leads".to_owned()),
        },
        ["nodes"] => {
            let states: Vec<String> = cluster.nodes().map(|node| node.state().to_owned()).collect();
            Ok(Some(states.join(" ")))
        }
        ["committed"] => Ok(Some(cluster.committed().len().to_string())),
        ["scavenge"] => cluster.scavenge().map(|count| Some(count.to_string())).map_err(in_words),
        ["empty"] => cluster.start_from_empty().map(|()| None).map_err(in_words),
        ["kill" | "start" | "freeze" | "thaw" | "cut" | "heal", node] => {
            of_node(words[0], &named(cluster, node)?).map(|()| None)
        }
        words => of_script(cluster.faults(), words).map(|()| None),
    }
}

fn of_node(command: &str, node: &NodeHandle<'_>) -> Result<(), String> {
    match command {
        "kill" => node.kill(),
        "start" => node.start().map_err(in_words)?,
        "freeze" => node.freeze(),
        "thaw" => node.thaw(),
        "cut" => node.cut(),
        "heal" => node.heal(),
        _ => return Err("no such command".to_owned()),
    }
    Ok(())
}

fn of_script(faults: &Faults, words: &[&str]) -> Result<(), String> {
    match words {
        ["clear"] => faults.clear(),
        ["end-subscriptions"] => faults.end_subscriptions(),
        ["repeat-checkpoints", count] => faults.repeat_checkpoints(number(count)?),
        ["pause-reads", millis] => faults.pause_reads(Duration::from_millis(number(millis)?)),
        ["fault", name] => faults.next_append(fault(name)?),
        ["fault", name, "after", count] => faults.append_after(number(count)?, fault(name)?),
        _ => return Err("no such command".to_owned()),
    }
    Ok(())
}

fn in_words(error: impl std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn named<'a>(cluster: &'a Cluster, text: &str) -> Result<NodeHandle<'a>, String> {
    let number: usize = number(text)?;
    let index = number.checked_sub(1).filter(|index| *index < cluster.addresses().len());
    index.map(|index| cluster.node(index)).ok_or_else(|| format!("there is no node {text}"))
}

fn fault(name: &str) -> Result<AppendFault, String> {
    match name {
        "drop-reply" => Ok(AppendFault::CommitThenDropReply),
        "drop" => Ok(AppendFault::DropBeforeStoring),
        "refuse" => Ok(AppendFault::Refuse),
        "not-leader" => Ok(AppendFault::NotLeader { tells_leader: true }),
        "not-leader-unknown" => Ok(AppendFault::NotLeader { tells_leader: false }),
        "aborted-stored" => Ok(AppendFault::AbortedButStored),
        "aborted" => Ok(AppendFault::AbortedNotStored),
        _ => Err(format!("there is no fault {name}")),
    }
}
