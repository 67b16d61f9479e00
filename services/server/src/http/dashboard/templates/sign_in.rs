//! The page on which somebody brings a key.

use maud::{Markup, html};

/// The reason why the page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::dashboard) enum Why {
    Asked,
    /// The key was not accepted.
    Refused(&'static str),
    /// The browser sent the cookie of the session not back.
    NoCookie,
    /// No key is needed.
    Open,
}

/// The page. `next`: the address that is shown after it.
pub(in crate::http::dashboard) fn page(next: &str, why: Why) -> Markup {
    html! {
        section.panel.sign-in {
            h1 { "Sign in" }
            @match why {
                Why::Open => { p { "This server has no API keys: whoever reaches it sees everything. " a.quiet href="/" { "To the overview" } } },
                Why::Asked | Why::Refused(_) | Why::NoCookie => (form(next, why)),
            }
        }
    }
}

fn form(next: &str, why: Why) -> Markup {
    html! {
        @match why {
            Why::Refused(reason) => { div.message role="alert" { div { b { "Not signed in." } " " (reason) } } },
            Why::NoCookie => { div.message role="alert" { div {
                b { "Your browser did not keep the session." } " It does so only over HTTPS, or on this machine as localhost, and with cookies allowed."
            } } },
            Why::Asked | Why::Open => {},
        }
        form method="post" action="/sign-in" {
            label { "API key"
                input type="password" name="key" required autofocus autocomplete="current-password" spellcheck="false" placeholder="ls_…" maxlength="200";
            }
            input type="hidden" name="next" value=(next);
            button.button.strong type="submit" { "Sign in" }
        }
        p.note { "A key with the scope " span.id { "query" } " is enough: " span.id { "lastseen keys create --name dashboard --scope query" } ". The session ends after 12 hours without a look, or with the key." }
    }
}
