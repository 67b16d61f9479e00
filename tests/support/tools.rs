//! Tools of others that tests run where they are installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project.
pub fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Says that a test does nothing for want of a tool: past the capture of the test runner, so that it is seen, and CI
/// fails on it.
pub fn skip(lacks: &str) {
    writeln!(std::io::stderr(), "skipped: no {lacks}").expect("stderr is open");
}

/// A Python that has `modules`, such as `duckdb, polars`: that of `target/python`, or the one of the system.
/// `None`: there is none, and that was said.
pub fn python_with(modules: &str) -> Option<PathBuf> {
    let found =
        [project_file("target/python/bin/python"), PathBuf::from("python3")].into_iter().find_map(|python| {
            let mut command = Command::new(python);
            command.arg("-c").arg(format!("import {modules}, sys; print(sys.executable, end='')"));
            let output = command.output().ok().filter(|output| output.status.success())?;
            Some(PathBuf::from(String::from_utf8(output.stdout).ok()?))
        });
    if found.is_none() {
        skip(&format!("Python with {modules}"));
    }
    found
}

/// The folder with the packages of tests/clients for Node.js. `None`: there is none, and that was said.
pub fn node_packages() -> Option<PathBuf> {
    let packages = project_file("target/clients/node_modules");
    let found = packages.is_dir().then_some(packages);
    if found.is_none() {
        skip("packages of tests/clients for Node.js in target/clients");
    }
    found
}
