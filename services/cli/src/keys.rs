//! `lastseen keys`: makes, lists and revokes API keys. It changes the keys file, also of a server that runs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use lastseen_event::UtcInstant;
use lastseen_server::keys::{KeyLimits, KeyRecord, KeyState, KeyUses, KeysFile, NewKey, Secret};
use lastseen_server::{AuditAction, AuditLog};
use lastseen_store::{Clock, SystemClock};
use serde::Serialize;

use crate::Outcome;
use crate::args::{CreateKeyArgs, Format, KeysArgs, KeysCommand, KeysFileArgs, ListKeysArgs, RevokeKeyArgs};
use crate::stdout::outln;

pub(crate) fn run(args: KeysArgs) -> anyhow::Result<Outcome> {
    match args.command {
        KeysCommand::Create(create) => self::create(create),
        KeysCommand::List(list) => self::list(&list),
        KeysCommand::Revoke(revoke) => self::revoke(&revoke),
    }
}

fn create(args: CreateKeyArgs) -> anyhow::Result<Outcome> {
    let CreateKeyArgs { name, scopes, tenants, .. } = args;
    let CreateKeyArgs { expires, out, if_absent, file, .. } = args;
    let CreateKeyArgs { requests_per_second, events_per_second, costly_at_once, .. } = args;
    let limits = KeyLimits { requests_per_second, events_per_second, costly_at_once };
    let now = SystemClock.now();
    let keys = KeysFile::read(&path(&file))?;
    let is_first = keys.is_none();
    let is_it = |key: &KeyRecord| key.name == name && key.state(now) == KeyState::Active;
    if if_absent && keys.is_some_and(|keys| keys.keys().iter().any(is_it)) {
        if let Some(out) = out.as_deref().filter(|out| !is_key(out)) {
            bail!("there is a key with the name {name:?}, and {} has none: revoke it first", out.display());
        }
        eprintln!("there is a key with the name {name:?}");
        return Ok(Outcome::Done);
    }
    // Before the key is made: a key that nobody is shown is of no use.
    let mut out = out.map(|out| new_file(&out).map(|file| (out, file))).transpose()?;
    let expires_at = expires.map(|expires| expires.at(now));
    let created = KeysFile::create(&path(&file), NewKey { name, scopes, tenants, limits, expires_at }, now);
    if let (Err(_), Some((out, _))) = (&created, &out) {
        // It is empty, and in the way of the next attempt.
        let _ = fs::remove_file(out);
    }
    let (key, secret) = created?;
    match &mut out {
        Some((_, out)) => {
            writeln!(out, "{}", secret.as_str())
                .and_then(|()| out.sync_all())
                .context("cannot write the key")?;
        }
        None => outln!("{}", secret.as_str()),
    }
    audit(&file, AuditAction::created(&key))?;
    let (id, name, scopes) = (&key.id, &key.name, names(&key));
    let tenants = key.tenants.as_ref().map_or("all tenants".to_owned(), |tenants| tenants.join(", "));
    eprintln!("made key {id} {name:?} with {scopes} for {tenants}; it is not shown again");
    if is_first {
        eprintln!("it is the first one: from now on each request to the server needs a key");
    }
    Ok(Outcome::Done)
}

fn revoke(args: &RevokeKeyArgs) -> anyhow::Result<Outcome> {
    let key = KeysFile::revoke(&path(&args.file), &args.key, SystemClock.now())?;
    audit(&args.file, AuditAction::revoked(&key))?;
    outln!("revoked key {} {:?}; a server that runs refuses it within a second", key.id, key.name);
    Ok(Outcome::Done)
}

/// A key as the list tells of it.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    scopes: String,
    tenants: &'a Option<Vec<String>>,
    limits: KeyLimits,
    created_at: UtcInstant,
    expires_at: Option<UtcInstant>,
    revoked_at: Option<UtcInstant>,
    last_used_at: Option<UtcInstant>,
}

fn list(args: &ListKeysArgs) -> anyhow::Result<Outcome> {
    let file = KeysFile::read(&path(&args.file))?;
    let uses_path = KeyUses::path_in(&args.file.data);
    let uses = KeyUses::read(&uses_path).with_context(|| format!("cannot read {}", uses_path.display()))?;
    let now = SystemClock.now();
    let keys = file.as_ref().map(KeysFile::keys).unwrap_or_default();
    let listed: Vec<_> = keys
        .iter()
        .map(|key| Listed {
            id: &key.id,
            name: &key.name,
            state: match key.state(now) {
                KeyState::Active => "active",
                KeyState::Expired => "expired",
                KeyState::Revoked => "revoked",
            },
            scopes: names(key),
            tenants: &key.tenants,
            limits: key.limits,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: uses.0.get(&key.id).map(|used| used.last_used_at),
        })
        .collect();
    match args.format {
        Format::Json => outln!("{}", serde_json::to_string(&listed)?),
        Format::Text if file.is_none() => {
            outln!("there is no keys file: the server is open, to this machine only");
        }
        Format::Text => print(&listed),
    }
    Ok(Outcome::Done)
}

/// Prints the keys as columns, each as wide as it must be.
fn print(listed: &[Listed<'_>]) {
    let at = |at: Option<UtcInstant>| at.map_or("-".to_owned(), |at| at.to_string()[..10].to_owned());
    let mut rows = vec![
        ["ID", "NAME", "STATE", "SCOPES", "TENANTS", "LIMITS", "CREATED", "EXPIRES", "LAST USED"]
            .map(str::to_owned),
    ];
    for key in listed {
        rows.push([
            key.id.to_owned(),
            key.name.to_owned(),
            key.state.to_owned(),
            key.scopes.clone(),
            key.tenants.as_ref().map_or("all".to_owned(), |tenants| tenants.join(",")),
            limits(key.limits),
            at(Some(key.created_at)),
            at(key.expires_at),
            key.last_used_at.map_or("-".to_owned(), |at| format!("{}Z", &at.to_string()[..19])),
        ]);
    }
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        outln!("{}", cells.join("  ").trim_end());
    }
}

/// The limits in short.
fn limits(limits: KeyLimits) -> String {
    let requests = limits.requests_per_second.map(|rate| format!("{rate} requests/s"));
    let events = limits.events_per_second.map(|rate| format!("{rate} events/s"));
    let costly = limits.costly_at_once.map(|places| format!("{places} costly"));
    let limits: Vec<_> = requests.into_iter().chain(events).chain(costly).collect();
    if limits.is_empty() { "-".to_owned() } else { limits.join(", ") }
}

/// True if the file has a key.
fn is_key(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| Secret::parse(text.trim()).is_some())
}

/// A file that is not there yet, and that only its owner may read.
fn new_file(path: &Path) -> anyhow::Result<File> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot make {}", path.display()))
}

fn names(key: &KeyRecord) -> String {
    key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

fn path(file: &KeysFileArgs) -> std::path::PathBuf {
    file.keys.clone().unwrap_or_else(|| KeysFile::path_in(&file.data))
}

/// Notes a change of the keys. The directory is there, unless the keys are kept elsewhere and no server has run yet.
fn audit(file: &KeysFileArgs, action: AuditAction) -> anyhow::Result<()> {
    let data: &Path = &file.data;
    std::fs::create_dir_all(data).and_then(|()| AuditLog::of(data).write(&[action])).with_context(|| {
        format!("the keys are changed, and the audit log in {} cannot be written", data.display())
    })
}
