//! The commands around a server: its configuration, its status, the restore of a backup, completions and manual pages.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Client, Ended, Events, Process, Server, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, lastseen, text, write};
use crate::keys::{create, until};

const WITHIN: Duration = Duration::from_mins(1);

/// The same with these variables, which a shell sets.
fn with_variables(variables: &str, arguments: &[&str]) -> Ended {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{variables} exec \"$@\""), "sh", BINARY]).args(arguments);
    Process::start(shell).wait(WITHIN)
}

#[test]
fn a_flag_beats_its_variable_that_beats_the_file_that_beats_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        &directory,
        "lastseen.toml",
        "# a comment\nscans = 3\ncounts = 4\nlists = 5\npersons = \"off\"\n\
         listen = [\"127.0.0.1:0\", \"[::1]:0\"]\nsegment_age = \"2h\"\n",
    );
    let print = |variables: &str, more: &[&str]| {
        let arguments = [&["serve", "--config", text(&file), "--print-config"], more].concat();
        let ended = with_variables(variables, &arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let printed = print("LASTSEEN_COUNTS=6 LASTSEEN_LISTS=7", &["--lists", "8"]);
    for line in [
        "scans = 3  # file or default",
        "counts = 6  # variable",
        "lists = 8  # flag",
        "decodes = 8  # file or default",
        "persons = \"off\"  # file or default",
        "segment_age = \"2h\"  # file or default",
        "listen = [\"127.0.0.1:0\", \"[::1]:0\"]  # file or default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in {printed}");
    }
    // A flag takes the place of a list; and all that is printed can be read again.
    assert!(print("", &["--listen", "127.0.0.1:1"]).contains("listen = [\"127.0.0.1:1\"]  # flag"));
    let again = write(&directory, "again.toml", &printed);
    let printed_again = lastseen(&["serve", "--config", text(&again), "--print-config"]).stdout;
    let settings = |text: &str| {
        let setting = |line: &str| line.split("  #").next().unwrap().to_owned();
        let mut settings: Vec<_> = text.lines().map(setting).collect();
        settings.sort();
        settings
    };
    assert_eq!(settings(&printed_again), settings(&printed));
    // A flag of all commands may come first.
    let first = lastseen(&["--quiet", "serve", "--config", text(&file), "--print-config"]);
    assert!(first.stdout.contains("scans = 3"), "{}", first.stdout);
    // The variable names the file too.
    let named = with_variables(&format!("LASTSEEN_CONFIG={}", text(&file)), &["serve", "--print-config"]);
    assert!(named.stdout.contains("scans = 3"), "{}", named.stderr);
}

#[test]
fn a_server_serves_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let content = format!(
        "data = {:?}\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nlog_format = \"json\"\n",
        text(&data)
    );
    let file = write(&directory, "lastseen.toml", content);
    let server = Server::launch(BINARY, &["--config", text(&file)].map(std::ffi::OsStr::new));
    let lines =
        eventually(WITHIN, || Some(server.stdout()).filter(|lines| lines.lines().count() == 2)).unwrap();
    for line in lines.lines() {
        let client = Client::new(line.strip_prefix("lastseen listening on ").unwrap());
        let ready = eventually(WITHIN, || (client.get("/readyz").status == 200).then_some(()));
        assert!(ready.is_some(), "{line}");
    }
    for line in server.stderr().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn a_file_that_is_wrong_is_bad_usage_and_names_what_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let refuse = |content: &str, told: &[&str]| {
        let file = write(&directory, "wrong.toml", content);
        let ended = lastseen(&["serve", "--config", text(&file), "--data", text(directory.path())]);
        assert_eq!(ended.code, Some(2), "{content}: {}", ended.stderr);
        for told in told {
            assert!(ended.stderr.contains(told), "{content}: {}", ended.stderr);
        }
    };
    refuse("segment_event = 1", &["segment_event\"", "the nearest one is \"segment_events\"", "wrong.toml"]);
    refuse("tls_crt = \"x\"", &["the nearest one is \"tls_cert\""]);
    refuse("config = \"x\"", &["there is no setting \"config\""]);
    refuse("scans = \"many\"", &["--scans", "many"]);
    refuse("scans = 1.5", &["scans: expected a string, an integer or a list of them, found float"]);
    refuse("[serve]\nscans = 1", &["there is no setting \"serve\""]);
    refuse("scans = ", &["wrong.toml"]);
    refuse("log = \"nonsense\"", &["expected levels"]);
    let ended = lastseen(&["serve", "--config", "/nowhere/lastseen.toml"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("/nowhere/lastseen.toml"), "{}", ended.stderr);
}

#[test]
fn status_tells_how_a_server_is() {
    let (server, data) = empty_server();
    server.client().publish(&[Events::seeded(4401).login(("acme", "ada"), now())]);
    let status = |more: &[&str]| lastseen(&[&["status", "--server", server.url()], more].concat());
    let ended = status(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let number = |name: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    assert!(ended.stdout.starts_with("ready\n"), "{}", ended.stdout);
    assert_eq!(
        (number("users"), number("position"), number("events not sealed")),
        ("1".into(), "1".into(), "1".into())
    );
    let quiet = status(&["--quiet"]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(0), ""));
    // With keys, health is for everybody and numbers are for operators.
    let admin = create(data.path(), &["--name", "admin", "--scope", "admin"]);
    until(server.client(), 401);
    let told = status(&[]);
    assert!(told.code == Some(0) && told.stdout.contains("scope admin"), "{}", told.stdout);
    let key = write(&data, "admin.key", admin);
    assert!(status(&["--key-file", text(&key)]).stdout.contains("resident memory"));
    let url = server.url().to_owned();
    server.terminate();
    let gone = lastseen(&["status", "--server", &url]);
    assert!(gone.code == Some(1) && gone.stderr.contains("no answer"), "{}", gone.stderr);
}

#[test]
fn a_backup_is_restored_once_it_is_sound() {
    let (server, data) = empty_server();
    let mut events = Events::seeded(4402);
    let many: Vec<_> = (0..100).map(|user| events.login(("acme", &format!("u{user}")), now())).collect();
    server.client().publish(&many);
    let directory = tempfile::tempdir().unwrap();
    let [copy, restored, refused] = ["copy", "restored", "refused"].map(|name| directory.path().join(name));
    let ended = lastseen(&["backup", text(&copy), "--data", text(data.path())]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let restore = |to| lastseen(&["restore", text(&copy), "--data", to]);
    let ended = restore(text(&restored));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("restored 100 events up to position 100"), "{}", ended.stdout);
    let again = restore(text(&restored));
    assert!(again.code == Some(1) && again.stderr.contains("holds a log already"), "{}", again.stderr);
    let server = Server::start(BINARY, &restored);
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 100);
    // A byte of the backup is changed: nothing is restored.
    let wal = fs::read_dir(copy.join("wal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&wal, bytes).unwrap();
    let ended = restore(text(&refused));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing was restored") && !ended.stdout.is_empty(), "{}", ended.stderr);
    assert!(!refused.exists());
}

#[test]
fn shells_and_manuals_know_every_command() {
    let help = lastseen(&["--help"]).stdout;
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = lastseen(&["completions", shell]).stdout;
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(lastseen(&["man", text(directory.path())]).code, Some(0));
    for command in commands {
        let page = fs::read_to_string(directory.path().join(format!("lastseen-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") || page.contains(".SH SUBCOMMANDS"), "{command}");
    }
}
