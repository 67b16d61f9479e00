//! Sealed history in a data directory.

use std::fs;
use std::path::Path;
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
