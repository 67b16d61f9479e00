//! The program: its output, its signals, its control socket.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use eventstoredb_emulator::execute;

use crate::client::{Client, Expect, event};
use crate::three_nodes;

const BINARY: &str = env!("CARGO_BIN_EXE_eventstoredb-emulator");

/// Three free ports in a row.
fn free_ports() -> u16 {
    let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    loop {
        let first = listen(0).unwrap().local_addr().unwrap().port();
        if first < u16::MAX - 2 && (first..first + 3).all(|port| listen(port).is_ok()) {
            return first;
        }
    }
}

fn start(dir: &Path, port: u16, more: &[&str]) -> Child {
    let mut child = Command::new(BINARY)
        .args(["--nodes", "3", "--port", &port.to_string(), "--data"])
        .arg(dir.join("data"))
        .arg("--control")
        .arg(dir.join("control"))
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn send(dir: &Path, command: &str) -> (String, bool) {
    let output =
        Command::new(BINARY).arg("send").arg(dir.join("control")).args(command.split(' ')).output().unwrap();
    (String::from_utf8(output.stdout).unwrap().trim_end().to_owned(), output.status.success())
}

fn terminate(mut child: Child) {
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn the_program_says_ready_takes_commands_and_ends_on_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_ports();
    let child = start(dir.path(), port, &["--server", "24.10"]);
    let client = Client::to((Ipv4Addr::LOCALHOST, port).into());
    client.put("s", "{}").await;
    assert_eq!(send(dir.path(), "leader"), ("ok 1".to_owned(), true));
    assert_eq!(send(dir.path(), "kill 3"), ("ok".to_owned(), true));
    assert_eq!(send(dir.path(), "nodes"), ("ok leader follower down".to_owned(), true));
    assert_eq!(send(dir.path(), "kill 4"), ("error there is no node 4".to_owned(), false));
    assert_eq!(send(dir.path(), "dance"), ("error no such command".to_owned(), false));
    terminate(child);
    assert!(!dir.path().join("control").exists());
    // All is there when it starts again.
    let child = start(dir.path(), port, &[]);
    let client = Client::to((Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(client.revisions("s").await, [0]);
    terminate(child);
}

#[tokio::test]
async fn each_command_does_what_it_says() {
    let cluster = three_nodes();
    let ok = |command: &str| execute(&cluster, command).unwrap().unwrap_or_default();
    let client = crate::client_of(&cluster, 0);
    let fails = async || client.append("s", Expect::Any, vec![event("{}")]).await.is_err();
    let committed: usize = ok("committed").parse().unwrap();
    client.put("s", "{}").await;
    assert_eq!(ok("committed"), (committed + 1).to_string());
    ok("fault refuse after 1");
    assert!(!fails().await);
    assert!(fails().await);
    for name in ["not-leader", "not-leader-unknown", "aborted", "aborted-stored", "refuse"] {
        ok(&format!("fault {name}"));
        assert!(fails().await, "{name}");
    }
    ok("fault refuse");
    ok("repeat-checkpoints 1");
    ok("pause-reads 1");
    ok("end-subscriptions");
    ok("clear");
    assert!(!fails().await);
    for (command, state) in [
        ("freeze 2", "frozen"),
        ("thaw 2", "follower"),
        ("cut 2", "cut"),
        ("heal 2", "follower"),
        ("kill 2", "down"),
    ] {
        ok(command);
        cluster.wait_until(|cluster| cluster.node(1).state() == state);
    }
    ok("start 2");
    cluster.wait_until(|cluster| cluster.node(1).state() == "follower");
    client.delete("s").await.unwrap();
    assert_eq!(ok("scavenge"), "3");
    ok("empty");
    assert_eq!(execute(&cluster, "fault nonsense").unwrap_err(), "there is no fault nonsense");
    assert_eq!(execute(&cluster, "repeat-checkpoints many").unwrap_err(), "many is no number");
    for name in ["drop", "drop-reply"] {
        ok(&format!("fault {name}"));
        let client = crate::client_of(&cluster, cluster.leader().unwrap());
        assert!(client.append("s", Expect::Any, vec![event("{}")]).await.is_err(), "{name}");
    }
}
