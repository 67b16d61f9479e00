//! The files of a deployment, as far as they can be checked without running them: the compose file and the manifest
//! against their schemas, the unit by systemd. What they say of this program is said to this program.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Process, project_file, python_with, skip};

use crate::BINARY;
use crate::answers::{lastseen, text};

const WITHIN: Duration = Duration::from_mins(1);

#[test]
fn compose_file_and_manifest_have_their_schemas() {
    let Some(python) = python_with("compose_spec, kubernetes_validate, yaml") else { return };
    let mut command = Command::new(python);
    command.arg(project_file("tests/clients/deployment.py"));
    command.args([project_file("compose.yaml"), project_file("docs/deploy/kubernetes.yaml")]);
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("StatefulSet"), "{}", ended.stdout);
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd-analyze");
    }
    // The binary is where it is, not where it will be.
    let unit = std::fs::read_to_string(project_file("docs/deploy/lastseen.service")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lastseen.service");
    std::fs::write(&path, unit.replace("/usr/local/bin/lastseen", BINARY)).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", text(&path)]);
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("lastseen.service"), "{}", ended.stderr);
}

/// A variable that nobody reads would be ignored without a word.
#[test]
fn deployments_set_variables_that_this_program_has() {
    let help = lastseen(&["serve", "--help"]).stdout;
    for file in ["compose.yaml", "docs/deploy/kubernetes.yaml", "docs/deploy/lastseen.service", "Dockerfile"]
    {
        let content = std::fs::read_to_string(project_file(file)).unwrap();
        let is_of_a_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        let named: BTreeSet<_> = content
            .split(|letter| !is_of_a_name(letter))
            .filter(|word| word.starts_with("LASTSEEN_"))
            .collect();
        for name in named {
            assert!(help.contains(&format!("[env: {name}=")), "{file} sets {name}");
        }
    }
}
