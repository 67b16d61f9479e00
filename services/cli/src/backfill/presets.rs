//! The files of presets. `--print-preset` prints each as it is.

use anyhow::Context;

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        /// The names of all presets.
        pub(crate) const PRESETS: [&str; [$($name),+].len()] = [$($name),+];
        const TEXTS: [&str; PRESETS.len()] = [$(include_str!(concat!("presets/", $name, ".toml"))),+];
    };
}

presets![
    "aspnet-identity",
    "auth0",
    "clerk",
    "cognito",
    "devise",
    "discourse",
    "django",
    "entra",
    "firebase",
    "gitlab",
    "google-workspace",
    "keycloak",
    "laravel",
    "mattermost",
    "okta",
    "platformplatform",
    "segment",
    "slack",
    "supabase",
    "wordpress",
];

/// The file of a preset.
///
/// # Errors
/// If there is none of that name.
pub(crate) fn text(name: &str) -> anyhow::Result<&'static str> {
    let at = PRESETS.iter().position(|preset| *preset == name);
    at.map(|at| TEXTS[at]).with_context(|| format!("there is no preset {name}"))
}
