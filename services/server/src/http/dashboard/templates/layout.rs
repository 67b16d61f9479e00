//! The frame of every page: the top bar, the bar of the instant, the foot.

use lastseen_event::EventType;
use maud::{DOCTYPE, Markup, html};

use super::parts::type_name;
use super::view::View;
use crate::http::dashboard::asked::{Range, TYPES};
use crate::http::dashboard::assets;
use crate::http::params::value::Of;

/// The part of the site that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::dashboard) enum Place {
    Overview,
    Tenants,
    Users,
    Events,
}

impl Place {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Overview, "Overview", "/"),
        (Self::Tenants, "Tenants", "/tenants"),
        (Self::Users, "Users", "/users"),
        (Self::Events, "Events", "/events"),
    ];
}

/// Everything of a page but its frame.
pub(in crate::http::dashboard) struct Contents {
    pub(in crate::http::dashboard) title: String,
    pub(in crate::http::dashboard) place: Option<Place>,
    /// The address of its live numbers; `None`: it has none.
    pub(in crate::http::dashboard) live: Option<String>,
    /// True if the bar has the choice between members and persons.
    pub(in crate::http::dashboard) has_persons: bool,
    /// True if the bar has the choice of the days.
    pub(in crate::http::dashboard) has_range: bool,
    pub(in crate::http::dashboard) main: Markup,
    /// The position of the page, as its reader sees it.
    pub(in crate::http::dashboard) position: Option<String>,
}

/// The whole page.
pub(in crate::http::dashboard) fn document(view: &View<'_>, contents: &Contents) -> Markup {
    let asked = view.asked;
    let class = if asked.is_past() { "is-past" } else { "is-now" };
    let live = contents.live.as_deref().filter(|_| !asked.is_past());
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[asked.reader.theme] {
            head {
                (head_lines(&contents.title))
                // Parts that are not there yet: whoever has no script asks again.
                @if contents.main.0.contains("data-pending") {
                    noscript { meta http-equiv="refresh" content="3"; }
                }
            }
            body class=(class) data-live=[live] data-at=(asked.at()) data-position=[contents.position.as_deref()] {
                a.skip href="#main" { "To the numbers" }
                (hatch())
                (top(view, contents))
                (bar(view, contents))
                main #main { (standstill(view)) (contents.main) }
                (foot(view, contents))
                (keys())
            }
        }
    }
}

/// The page of whoever is not signed in, or of a server that cannot answer yet.
pub(in crate::http::dashboard) fn plain(title: &str, main: &Markup, refresh: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head_lines(title))
                @if let Some(refresh) = refresh { meta http-equiv="refresh" content=(refresh); }
            }
            body {
                header.top { (brand()) }
                main #main { (main) }
            }
        }
    }
}

fn head_lines(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="referrer" content="same-origin";
        title { (title) " · Lastseen" }
        link rel="icon" href=(assets::ICON.url()) type="image/svg+xml";
        link rel="stylesheet" href=(assets::STYLE.url());
        script src=(assets::SCRIPT.url()) defer {}
    }
}

/// The pattern of all that is guessed.
fn hatch() -> Markup {
    html! {
        svg.hidden width="0" height="0" aria-hidden="true" {
            pattern #hatch width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect.hatch-ground width="5" height="5" {}
                path.hatch-line d="M0 0V5" {}
            }
        }
    }
}

fn brand() -> Markup {
    html! {
        a.brand href="/" {
            svg viewBox="0 0 26 14" aria-hidden="true" {
                circle cx="2" cy="7" r="1.3" opacity="0.35" {}
                circle cx="8" cy="7" r="2.2" opacity="0.6" {}
                path fill-rule="evenodd" d="M19 .5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13ZM19 2.6a4.4 4.4 0 1 0 0 8.8a4.4 4.4 0 0 0 0-8.8ZM19 5a2 2 0 1 1 0 4a2 2 0 0 1 0-4Z" {}
            }
            "Lastseen"
        }
    }
}

fn top(view: &View<'_>, contents: &Contents) -> Markup {
    let asked = view.asked;
    html! {
        header.top {
            (brand())
            nav aria-label="Pages" {
                @for (place, name, path) in Place::ALL {
                    a href=(asked.to(path, &[])) aria-current=[(contents.place == Some(place)).then_some("page")] { (name) }
                }
            }
            div.state {
                (live_state(view))
                button.needs-script type="button" data-theme-switch title="Light or dark" aria-label="Light or dark" {
                    svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true" {
                        circle cx="7.5" cy="7.5" r="6" fill="none" stroke="currentColor" stroke-width="1.5" {}
                        path d="M7.5 2.2a5.3 5.3 0 0 1 0 10.6Z" fill="currentColor" {}
                    }
                }
                @if let Some(key) = &asked.reader.key_id {
                    span.id.wide-only title="Your key" { "ls_" (key) }
                    form method="post" action="/sign-out" { button type="submit" { "Sign out" } }
                }
            }
        }
    }
}

/// The state of the numbers, until the script says more.
fn live_state(view: &View<'_>) -> Markup {
    let asked = view.asked;
    html! {
        @if asked.is_past() {
            span.live data-state="past" { i {} "Not live: a past instant" }
        } @else {
            span.live data-state="still" { i {} span { "As of " (view.format.time_second(asked.now)) } }
            // Said aloud only where the state changes.
            span.hidden role="status" data-said {}
        }
    }
}

/// The control of the instant, of the zone and of what counts: one form, which works without a script.
fn bar(view: &View<'_>, contents: &Contents) -> Markup {
    let (asked, format) = (view.asked, &view.format);
    let own =
        [&["as_of", "known_at", "tz", "types", "provenance"][..], &TYPES.map(EventType::as_str)].concat();
    html! {
        form.bar method="get" action=(asked.path()) aria-label="Instant, zone and events" {
            @for (name, value) in asked.kept(&own) {
                input type="hidden" name=(name) value=(value);
            }
            details.pop.as-of {
                summary { "As of " b { (asked.as_of.map_or_else(|| "Now".to_owned(), |at| format.minute(at))) } }
                div.panel-pop {
                    label { "Date and time in " (asked.zone.name())
                        input type="datetime-local" step="1" name="as_of" value=[asked.as_of.map(|at| format.field(at))] max="9999-12-31T23:59:59";
                        @if let Some(at) = asked.as_of { input type="hidden" name="as_of_shown" value={ (format.field(at)) " " (at) }; }
                    }
                    p.note { "Every number counts only what had happened by then." }
                    div.links {
                        @for (name, days) in [("A day ago", 1), ("7 days ago", 7), ("30 days ago", 30), ("A year ago", 365)] {
                            a href=(asked.url(&[("as_of", Some(&format!("{days}d")))])) { (name) }
                        }
                    }
                    button.button.strong type="submit" { "Show" }
                }
            }
            @if asked.as_of.is_some() {
                a.button.past href=(asked.url(&[("as_of", None), ("known_at", None)])) { "Back to now" }
            }
            details.more open {
                summary { "More" }
                div.rest {
                details.pop {
                    summary { "Known at " b { (known_at(view)) } }
                    div.panel-pop {
                        label { "A position, or a date and time"
                            input type="text" name="known_at" value=[asked.known_at.as_deref()] placeholder="2026-07-14 16:30" spellcheck="false" autocomplete="off";
                        }
                        p.note { "Every number as it was known then: what arrived later is left out." }
                        button.button.strong type="submit" { "Show" }
                    }
                }
                details.pop {
                    summary { "Zone " b { (asked.zone.name()) } }
                    div.panel-pop {
                        label { "Time zone"
                            input type="text" name="tz" value=(asked.zone.name()) list="zones" spellcheck="false" autocomplete="off" required;
                        }
                        datalist #zones { @for zone in ZONES { option value=(zone) {} } }
                        p.note { "Days begin and end at its midnight." }
                        button.button.strong type="submit" { "Show" }
                    }
                }
                (counting(view))
                @if contents.has_persons && asked.reader.has_persons { (whom(view)) }
                }
            }
            div.end {
                @if contents.has_range { (ranges(view)) }
                button.button.needs-script type="button" data-copy=(asked.url(&[])) aria-label="Copy the link to this page" title="Copy the link" {
                    svg width="14" height="14" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true" {
                        path d="M5.8 8.2a2.6 2.6 0 0 0 3.7 0l2-2a2.6 2.6 0 0 0-3.7-3.7l-.6.6M8.2 5.8a2.6 2.6 0 0 0-3.7 0l-2 2a2.6 2.6 0 0 0 3.7 3.7l.6-.6" {}
                    }
                }
            }
        }
    }
}

fn known_at(view: &View<'_>) -> String {
    let Some(text) = &view.asked.known_at else { return "latest".to_owned() };
    match lastseen_event::UtcInstant::parse(text) {
        Ok(at) => view.format.minute(at),
        Err(_) => format!("position {text}"),
    }
}

/// The types of events that count.
fn counting(view: &View<'_>) -> Markup {
    let asked = view.asked;
    let chosen: Option<Vec<&str>> = asked.types.as_deref().map(|types| types.split(',').collect());
    let is_chosen = |of: EventType| chosen.as_ref().is_none_or(|chosen| chosen.contains(&of.as_str()));
    let name = match (&chosen, asked.observed_only) {
        (None, false) => "all activity".to_owned(),
        (None, true) => "without estimates".to_owned(),
        (Some(chosen), _) if chosen.len() == 1 => {
            let one = TYPES.into_iter().find(|of| of.as_str() == chosen[0]);
            one.map_or_else(String::new, |of| type_name(of.as_str()).to_lowercase())
        }
        (Some(chosen), _) => format!("{} of {} kinds", chosen.len(), TYPES.len()),
    };
    html! {
        details.pop {
            summary { "Counting " b { (name) } }
            div.panel-pop {
                @for of in TYPES {
                    label.check { input type="checkbox" name=(of.as_str()) value="on" checked[is_chosen(of)]; (type_name(of.as_str())) }
                }
                label.check { input type="checkbox" name="provenance" value="observed" checked[asked.observed_only]; "Without estimates" }
                p.note { "Estimates count where all kinds do." }
                button.button.strong type="submit" { "Show" }
            }
        }
    }
}

fn whom(view: &View<'_>) -> Markup {
    let asked = view.asked;
    html! {
        div.parts role="group" aria-label="Whom to count" {
            @for (of, name) in [(Of::Members, "Members"), (Of::Persons, "Persons")] {
                @let value = (of == Of::Persons).then_some("persons");
                a href=(asked.url(&[("of", value)])) aria-current=[(asked.of == of).then_some("true")] { (name) }
            }
        }
    }
}

fn ranges(view: &View<'_>) -> Markup {
    let asked = view.asked;
    html! {
        div.parts role="group" aria-label="Days" {
            @for range in Range::ALL {
                @let value = (range != Range::default()).then_some(range.as_str());
                a href=(asked.url(&[("range", value)])) aria-current=[(asked.range == range).then_some("true")] { (range.as_str()) " days" }
            }
        }
    }
}

/// The parts of the server that do not work, for whoever wonders at its numbers.
fn standstill(view: &View<'_>) -> Markup {
    html! {
        @if !view.asked.still.is_empty() {
            div.message.busy role="status" {
                div {
                    b { "A part of the server stands still." } " "
                    @for (at, still) in view.asked.still.iter().enumerate() {
                        @if at > 0 { ", " } (still.part) " since " (view.format.minute(still.since))
                    }
                    ". Numbers may be older than they look; its log says more."
                }
                a.button href="/readyz" { "State" }
            }
        }
    }
}

fn foot(view: &View<'_>, contents: &Contents) -> Markup {
    html! {
        footer {
            @if let Some(position) = &contents.position {
                span { "Position " b data-position { (position.parse::<u64>().map_or_else(|_| shortened(position), |at| view.format.number(at))) } }
            }
            span { "Definition " b { (crate::http::answer::DEFINITION) } }
            @if let Some(lag) = view.asked.lag { span { "Lag " b { (view.format.number(lag)) } " events" } }
            span data-rate hidden { b {} " events/s over 5 min" }
            span { "Times in " b { (view.asked.zone.name()) } }
            span { "Every number here is an answer of the API. " a href="/docs" { "How they are defined" } }
            button.keys.quiet.needs-script type="button" data-keys { "? for keys" }
        }
    }
}

/// A sealed position says nothing to people.
fn shortened(position: &str) -> String {
    let kept: String = position.chars().take(8).collect();
    format!("{kept}…")
}

/// The keys that the script knows.
fn keys() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            dl {
                @for (key, about) in [
                    ("g o", "Overview"), ("g t", "Tenants"), ("g u", "Users"), ("g e", "Events"), ("/", "Search"),
                    ("[ ]", "One day back, one day on"), ("n", "Now"), ("t", "Open or close the tables"),
                    ("← →", "In a chart: the day before, the day after"), ("Enter", "In a chart: who was active on the day"), ("?", "This list"),
                ] {
                    dt { (key) } dd { (about) }
                }
            }
            form method="dialog" { button.button type="submit" { "Close" } }
        }
    }
}

/// Zones that are offered before anything is typed; the browser adds all that it knows.
const ZONES: [&str; 16] = [
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Copenhagen",
    "Europe/Kyiv",
    "Africa/Lagos",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/Sao_Paulo",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
];
