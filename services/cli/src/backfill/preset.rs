//! Presets: what the columns of widely used products mean, as settings.

use anyhow::Context;
use serde::Deserialize;

use super::presets;
use super::settings::Section;

/// A product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Preset {
    #[expect(dead_code, reason = "it is for those who read the file")]
    about: About,
    /// Its table of users.
    #[serde(default)]
    pub(super) users: Section,
    /// Its tables of logins.
    #[serde(default)]
    pub(super) logins: Option<Section>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is for those who read the file")]
struct About {
    product: String,
    /// The documents of the format.
    sources: Vec<String>,
    /// The steps of an export.
    export: Vec<String>,
    /// Statements that no document makes.
    #[serde(default)]
    assumed: Vec<String>,
}

impl Preset {
    /// # Errors
    /// If there is none of that name.
    pub(super) fn named(name: &str) -> anyhow::Result<Self> {
        toml::from_str(presets::text(name)?).with_context(|| format!("the preset {name} is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::presets::PRESETS;

    #[test]
    fn every_preset_is_well_formed() {
        let mut files: Vec<String> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/backfill/presets"))
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
        files.sort();
        assert_eq!(files, PRESETS.map(|name| format!("{name}.toml")));
        let documented = include_str!("../../../../docs/BACKFILL.md");
        for name in PRESETS {
            Preset::named(name).unwrap();
            let is_named = [" ", "`"].iter().any(|end| documented.contains(&format!("--preset {name}{end}")));
            assert!(is_named, "{name} in docs/BACKFILL.md");
        }
    }
}
