//! Sealed history in a data directory, and who reads it besides the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::eventually;

const SEALED_WITHIN: Duration = Duration::from_mins(1);

/// Waits until events up to `position` are in segments.
pub fn wait_until_sealed(data: &Path, position: u64) {
    let sealed = eventually(SEALED_WITHIN, || {
        let manifest: Value =
            serde_json::from_slice(&fs::read(data.join("segments/manifest.json")).ok()?).ok()?;
        let segments = manifest["manifest"]["segments"].as_array().expect("a manifest lists segments");
        (segments.last()?["positions"][1].as_u64()? >= position).then_some(())
    });
    assert!(sealed.is_some(), "not sealed within {SEALED_WITHIN:?}");
}

/// A Python that has `modules`, such as `duckdb, polars`: that of `target/analysts`, or the one of the system.
pub fn python_with(modules: &str) -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/analysts/bin/python");
    [made, PathBuf::from("python3")].into_iter().find_map(|python| {
        let mut command = Command::new(python);
        command.arg("-c").arg(format!("import {modules}, sys; print(sys.executable, end='')"));
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?))
    })
}
