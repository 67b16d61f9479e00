//! The sources of deliveries, as a TOML file names them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lastseen_event::TenantId;
use serde::Deserialize;

use super::entry::Happened;
use super::metrics::Counts;
use super::providers::Provider;
use super::signature::Secret;

/// A path for deliveries of one provider, with their secret and their tenant.
pub(super) struct Source {
    pub(super) provider: Provider,
    pub(super) path: String,
    pub(super) secret: Secret,
    tenant: Option<String>,
    organizations: bool,
    pub(super) counts: Counts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: Vec<Written>,
}

/// A source as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Provider,
    /// `/KIND` without it.
    path: Option<String>,
    /// Beside the file, where it is no absolute path.
    secret_file: PathBuf,
    tenant: Option<String>,
    #[serde(default)]
    organizations: bool,
}

impl Source {
    /// True if an event is of none of the tenants of this source.
    pub(super) fn leaves_out(&self, happened: &Happened) -> bool {
        happened.is_of_organization && !self.organizations
    }

    /// The tenant of an event: its organisation where that is asked for, the tenant of the source, or that of the provider.
    pub(super) fn tenant_of<'a>(&'a self, happened: &'a Happened) -> Option<&'a str> {
        let organization = happened.organization.as_ref().filter(|_| self.organizations);
        organization.or(self.tenant.as_ref()).or(happened.tenant.as_ref()).map(String::as_str)
    }
}

/// Reads the sources, with their secrets.
///
/// # Errors
/// The first thing that is wrong, with the file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Source>> {
    let of_file = || format!("{}", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(of_file)?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let mut sources: Vec<Source> = Vec::new();
    for written in file.source {
        let source = source(written, directory).with_context(of_file)?;
        if sources.iter().any(|other| other.path == source.path) {
            bail!("{}: two sources have the path {}", path.display(), source.path);
        }
        sources.push(source);
    }
    if sources.is_empty() {
        bail!("{} names no source", path.display());
    }
    Ok(sources)
}

fn source(written: Written, directory: &Path) -> anyhow::Result<Source> {
    let provider = written.kind;
    let name = provider.name();
    let path = written.path.unwrap_or_else(|| format!("/{name}"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || !path.chars().all(is_plain) {
        bail!("the path of {name}: expected one such as /{name}, found {path:?}");
    }
    match &written.tenant {
        Some(tenant) => drop(TenantId::new(tenant).with_context(|| format!("the tenant of {name}"))?),
        None if !provider.names_tenants() => {
            bail!("{name} names no tenant: expected tenant = \"...\", which all of its users are in");
        }
        None => {}
    }
    if written.organizations && !provider.names_organizations() {
        bail!("{name} names no organizations");
    }
    let file = directory.join(written.secret_file);
    let secret =
        fs::read_to_string(&file).with_context(|| format!("the secret of {name}: {}", file.display()))?;
    let secret = Secret::new(provider, secret.trim());
    let secret =
        secret.map_err(|error| anyhow::anyhow!("the secret of {name}: {}: {error}", file.display()))?;
    let counts = Counts::new(&path);
    Ok(Source {
        provider,
        path,
        secret,
        tenant: written.tenant,
        organizations: written.organizations,
        counts,
    })
}
