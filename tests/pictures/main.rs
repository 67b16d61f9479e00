//! Takes the pictures of the docs from real history: `cargo build --release && cargo run -p lastseen-tests --example pictures`.
//!
//! Serves the activity of tests/data/git-activity with target/release/lastseen, or with the binary that the first argument names,
//! and writes to docs/pictures. Needs Chromium and its driver.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastseen_tests::{Browser, Process, Server, git_activity, project_file};

/// Name, address, width, height (0: all of the page) and colours of each picture.
const PICTURES: [(&str, &str, u32, u32, &str); 4] = [
    ("overview-light", "/?as_of=2024-03-01T00:00:00Z&tz=UTC&range=365", 1_440, 1_370, "light"),
    ("overview-dark", "/?as_of=2024-03-01T00:00:00Z&tz=UTC&range=365", 1_440, 1_370, "dark"),
    ("overview-narrow", "/?as_of=2024-03-01T00:00:00Z&tz=UTC", 360, 1_500, "light"),
    (
        "tenant-dark",
        "/tenants/271170549131364458?as_of=2024-03-01T00:00:00Z&tz=UTC&range=365",
        1_440,
        0,
        "dark",
    ),
];

fn main() {
    let binary =
        std::env::args().nth(1).map_or_else(|| project_file("target/release/lastseen"), PathBuf::from);
    let data = tempfile::tempdir().expect("a directory for the log");
    let server = Server::start(&binary, data.path());
    let mut import = Command::new(&binary);
    import.args(["import", "--server", server.url()]).arg(git_activity::path("events.ndjson.gz"));
    let ended = Process::start(import).wait(std::time::Duration::from_mins(2));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let Some(browser) = Browser::open() else { return };
    let folder = project_file("docs/pictures");
    fs::create_dir_all(&folder).expect("the folder of the pictures");
    for (name, address, width, height, theme) in PICTURES {
        browser.theme(theme);
        browser.resize(width);
        browser.go(&format!("{}{address}", server.url()));
        browser.until("return !document.querySelector('[data-pending]')");
        let picture = STANDARD.decode(browser.picture(height)).expect("base64");
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, picture).expect("the picture is written");
        eprintln!("{}", file.display());
    }
}
