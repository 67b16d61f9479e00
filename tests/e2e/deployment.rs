//! The files of a deployment, as far as they can be checked without running them: the compose file and the manifest
//! against their schemas, the unit by systemd, the cluster by its own rules. What they say of this program is said to this program.

use std::collections::BTreeSet;
use std::path::Path;
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
fn cluster_profile_has_all_its_pieces_and_they_name_one_another() {
    let Some(python) = python_with("yaml") else { return };
    let mut command = Command::new(python);
    command.arg(project_file("tests/clients/cluster.py")).arg(project_file("."));
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("12 services"), "{}", ended.stdout);
}

#[test]
fn prometheus_reads_the_files_of_a_cluster() {
    let rules = project_file("docs/monitoring/cluster-alerts.yaml");
    let asked = [
        (vec!["check", "rules"], rules.clone()),
        // The certificate and the password that it names are in containers.
        (vec!["check", "config", "--syntax-only"], project_file("docs/monitoring/cluster.yaml")),
        (vec!["check", "config", "--syntax-only"], project_file("docs/monitoring/prometheus.yaml")),
    ];
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool");
    }
    for (arguments, file) in asked {
        let mut command = Command::new("promtool");
        command.args(arguments).arg(&file);
        let ended = Process::start(command).wait(WITHIN);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    }
    let (rules, told) = (read(&rules), read(&project_file("docs/OPERATIONS.md")));
    for metric in names_with("lastseen_", &rules) {
        assert!(told.contains(&format!("`{metric}`")), "the rules name {metric}, which the docs do not have");
    }
}

#[test]
fn scripts_of_the_cluster_are_read_by_bash() {
    let scripts: Vec<_> = std::fs::read_dir(project_file("docs/deploy/cluster"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
        .collect();
    assert_eq!(scripts.len(), 3, "{scripts:?}");
    for script in scripts {
        let mut command = Command::new("bash");
        command.arg("-n").arg(&script);
        let ended = Process::start(command).wait(WITHIN);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(read(&script).contains("set -euo pipefail"), "{script:?} goes on where a step failed");
    }
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
    // A build without the feature `eventstoredb` has no flags for a store.
    let has_store = help.contains("[env: LASTSEEN_STORE=");
    for file in ["compose.yaml", "docs/deploy/kubernetes.yaml", "docs/deploy/lastseen.service", "Dockerfile"]
    {
        let content = read(&project_file(file));
        for name in names_with("LASTSEEN_", &content) {
            let is_known = help.contains(&format!("[env: {name}="));
            assert!(is_known || (!has_store && name.starts_with("LASTSEEN_STORE")), "{file} sets {name}");
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Names of variables, or of metrics, with this beginning.
fn names_with<'a>(beginning: &str, content: &'a str) -> BTreeSet<&'a str> {
    let is_of_a_name = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    content.split(|letter| !is_of_a_name(letter)).filter(|word| word.starts_with(beginning)).collect()
}
