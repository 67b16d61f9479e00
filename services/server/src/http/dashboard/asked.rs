//! The address of a page: the instant, the zone and the events that it is about. All of it stands in the URL, so that a page
//! can be shared and loaded again.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use form_urlencoded::Serializer;
use lastseen_event::{EventType, Provenance, UtcInstant};
use lastseen_projections::{Day, TypeSet};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use schemars::{Schema, json_schema};

use super::format::instant_of;
use crate::http::ask::Ask;
use crate::http::auth::{self, Look};
use crate::http::params::value::{ObservedOnly, Of, Value};
use crate::http::params::{Query, params};
use crate::http::problem::Problem;
use crate::keys::Scope;
use crate::questions::moment::{KnownAt, Moment};
use crate::read_model::health::Standstill;

params! {
    /// The parameters of every page. Forms have times of the clocks, and a field for each type; their requests are sent on to
    /// the address without them.
    PageParams {
        /// an instant, inclusive
        as_of: String = "now",
        /// a position or an instant, inclusive
        known_at: String = "all events",
        /// an IANA time zone such as `Europe/Berlin`
        tz: Tz = "that of the reader",
        /// a comma list of `login`, `token_refresh`, `tenant_switch`, `signup_complete`
        types: TypeSet = "all, and estimates",
        /// `observed`: estimates do not count
        provenance: ObservedOnly = "all",
        /// `members`, or `persons`
        of: Of = "`members`",
        /// `30`, `90` or `365` days
        range: Range = "`90`",
        /// of the form: what the field `as_of` showed, a space, and the exact instant
        as_of_shown: String = "none",
        /// of the form: logins count
        login: String = "none",
        /// of the form: token refreshes count
        token_refresh: String = "none",
        /// of the form: tenant switches count
        tenant_switch: String = "none",
        /// of the form: completed signups count
        signup_complete: String = "none",
    }
}

/// The number of days that charts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Range {
    Month,
    #[default]
    Quarter,
    Year,
}

impl Range {
    pub(super) const ALL: [Self; 3] = [Self::Month, Self::Quarter, Self::Year];

    /// The value in the URL.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Month => "30",
            Self::Quarter => "90",
            Self::Year => "365",
        }
    }

    pub(super) fn days(self) -> i32 {
        match self {
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Year => 365,
        }
    }

    /// The length of the periods in which events of this many days are counted.
    pub(super) fn counted(self) -> &'static str {
        match self {
            Self::Month | Self::Quarter => "day",
            Self::Year => "week",
        }
    }

    /// The length of the periods in which this many days are compared.
    pub(super) fn period(self) -> &'static str {
        match self {
            Self::Month => "day",
            Self::Quarter => "week",
            Self::Year => "month",
        }
    }
}

impl Value for Range {
    const FORM: &'static str = "30, 90 or 365";

    fn schema() -> Schema {
        json_schema!({ "enum": Self::ALL.map(Self::as_str) })
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }
}

/// The observed types, each with its parameter in forms.
pub(super) const TYPES: [EventType; 4] =
    [EventType::Login, EventType::TokenRefresh, EventType::TenantSwitch, EventType::SignupComplete];

/// A page as it was asked for, by somebody.
pub(super) struct Asked {
    path: String,
    pairs: Vec<(String, String)>,
    pub(super) as_of: Option<UtcInstant>,
    pub(super) known_at: Option<String>,
    pub(super) zone: Tz,
    pub(super) types: Option<String>,
    pub(super) observed_only: bool,
    pub(super) of: Of,
    pub(super) range: Range,
    /// The server's clock.
    pub(super) now: UtcInstant,
    pub(super) reader: Reader,
    /// Durable events that no number reflects yet. `None`: its reader may not know how much others publish.
    pub(super) lag: Option<u64>,
    /// Parts of the server that stand still.
    pub(super) still: Vec<Standstill>,
}

/// Whoever looks at a page.
pub(super) struct Reader {
    pub(super) languages: Option<String>,
    /// `light` or `dark`; `None`: as the system says.
    pub(super) theme: Option<&'static str>,
    /// `None`: the server is open.
    pub(super) key_id: Option<String>,
    /// The tenants that the key is bound to. `None`: all.
    pub(super) tenants: Option<Vec<String>>,
    pub(super) may_replay: bool,
    /// False where the server counts no persons.
    pub(super) has_persons: bool,
    /// The origin under which the reader reaches the server.
    pub(super) origin: String,
}

/// A page, or the address that its request is sent on to.
pub(super) enum Resolved {
    Page(Box<Asked>),
    Elsewhere(String),
}

impl Asked {
    /// Reads the address of a page.
    ///
    /// # Errors
    /// `invalid_parameter`, `not_ready`.
    pub(super) fn of<P>(ask: &Ask<Look, P>, page: &PageParams) -> Result<Resolved, Problem> {
        let (now, (lag, still)) = (ask.now()?, ask.health()?);
        let cookie = |name| auth::cookie(&ask.headers, name);
        let of_reader = || {
            cookie("lastseen-tz").and_then(|zone| percent_decode_str(zone).decode_utf8().ok()?.parse().ok())
        };
        let zone = page.tz.or_else(of_reader).unwrap_or(Tz::UTC);
        let mut asked = Self {
            path: ask.path().to_owned(),
            pairs: ask.query.pairs().to_vec(),
            as_of: instant((&ask.query, page), zone, now)?,
            known_at: known_at((&ask.query, page), zone, now)?,
            zone,
            types: page.types.and_then(|_| ask.query.text("types")).map(str::to_owned),
            observed_only: page.provenance.is_some(),
            of: page.of.unwrap_or_default(),
            range: page.range.unwrap_or_default(),
            now,
            reader: Reader {
                languages: ask
                    .headers
                    .get("accept-language")
                    .and_then(|it| it.to_str().ok())
                    .map(str::to_owned),
                theme: cookie("lastseen-theme")
                    .and_then(|name| ["light", "dark"].into_iter().find(|it| *it == name)),
                key_id: ask.key_id().map(str::to_owned),
                tenants: ask.tenants().map(<[_]>::to_vec),
                may_replay: ask.may(Scope::Replay),
                has_persons: ask.has_persons(),
                origin: ask.origin(),
            },
            lag: Some(lag).filter(|_| ask.tenants().is_none()),
            still,
        };
        Ok(if asked.put_in_order(page) {
            Resolved::Elsewhere(asked.url(&[]))
        } else {
            Resolved::Page(Box::new(asked))
        })
    }

    /// Replaces the fields of forms. `true`: there were some.
    fn put_in_order(&mut self, page: &PageParams) -> bool {
        let given = self.pairs.clone();
        let fields: Vec<&str> = TYPES.map(EventType::as_str).to_vec();
        let boxes = [&page.login, &page.token_refresh, &page.tenant_switch, &page.signup_complete];
        let chosen: Vec<&str> =
            fields.iter().zip(boxes).filter(|(_, ticked)| ticked.is_some()).map(|(name, _)| *name).collect();
        if !chosen.is_empty() {
            self.pairs.retain(|(name, _)| !fields.contains(&name.as_str()) && name != "types");
            if chosen.len() < fields.len() {
                self.pairs.push(("types".to_owned(), chosen.join(",")));
            }
        }
        self.pairs.retain(|(name, _)| name != "as_of_shown");
        let as_of = self.as_of.map(|at| at.to_string());
        for (name, value) in [("as_of", &as_of), ("known_at", &self.known_at)] {
            if let (Some(pair), Some(value)) = (self.pairs.iter_mut().find(|(of, _)| of == name), value) {
                pair.1.clone_from(value);
            }
        }
        // An instant means the same to everybody only together with its zone.
        if (self.as_of.is_some() || self.known_at.is_some())
            && self.pairs.iter().all(|(name, _)| name != "tz")
        {
            self.pairs.push(("tz".to_owned(), self.zone.name().to_owned()));
        }
        self.pairs != given
    }

    /// The instant that the page is about.
    pub(super) fn at(&self) -> UtcInstant {
        self.as_of.unwrap_or(self.now)
    }

    /// The date of that instant.
    pub(super) fn today(&self) -> Day {
        let local = self.zone.timestamp_micros(self.at().as_micros()).single();
        let days = local.map(|local| local.date_naive().to_epoch_days());
        days.map_or(Day::new(0), Day::new)
    }

    /// True if the numbers of the page stand still.
    pub(super) fn is_past(&self) -> bool {
        self.as_of.is_some() || self.known_at.is_some()
    }

    /// True if not everything counts: live numbers are those of everything.
    pub(super) fn is_filtered(&self) -> bool {
        self.types.is_some() || self.observed_only
    }

    pub(super) fn is_of_persons(&self) -> bool {
        self.of == Of::Persons
    }

    /// This page with other values of some parameters. `None`: without it.
    pub(super) fn url(&self, changes: &[(&str, Option<&str>)]) -> String {
        let is_changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
        // The place in a list belongs to the question of the list.
        let is_kept = |name: &str| !is_changed(name) && (changes.is_empty() || !OF_LIST.contains(&name));
        let kept = self.pairs.iter().filter(|(name, _)| is_kept(name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let added = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        address(&self.path, kept.chain(added))
    }

    /// Another page about the same instant, with parameters of its own.
    pub(super) fn to(&self, path: &str, own: &[(&str, &str)]) -> String {
        const SHARED: [&str; 7] = ["as_of", "known_at", "tz", "types", "provenance", "of", "range"];
        let is_shared = |name: &str| SHARED.contains(&name) && own.iter().all(|(own, _)| *own != name);
        let shared = self.pairs.iter().filter(|(name, _)| is_shared(name));
        let shared = shared.map(|(name, value)| (name.as_str(), value.as_str()));
        address(path, shared.chain(own.iter().copied()))
    }

    /// The parameters that the forms of this page keep: not those of a place in a list.
    pub(super) fn kept(&self, except: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        let kept = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = kept.filter(|(name, _)| !OF_LIST.contains(name));
        let except: Vec<String> = except.iter().map(|&name| name.to_owned()).collect();
        kept.filter(move |(name, _)| !except.iter().any(|one| one == name))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A request to the API about numbers at the instant of the page.
    pub(super) fn question(&self, path: &str, own: &[(&str, &str)]) -> String {
        let as_of = self.as_of.map(|at| at.to_string());
        let observed = self.observed_only.then_some(Provenance::Observed.as_str());
        let shared = [
            ("as_of", as_of.as_deref()),
            ("known_at", self.known_at.as_deref()),
            ("types", self.types.as_deref()),
            ("provenance", observed),
        ];
        let shared = shared.into_iter().filter_map(|(name, value)| Some((name, value?)));
        address(path, own.iter().copied().chain(shared))
    }

    /// A request to the API about days in the zone of the page.
    pub(super) fn span(&self, path: &str, own: &[(&str, &str)]) -> String {
        let zone = Some(("tz", self.zone.name())).filter(|_| self.zone != Tz::UTC);
        let of = self.is_of_persons().then_some(("of", Of::Persons.as_str()));
        let own: Vec<_> = own.iter().copied().chain(zone).chain(of).collect();
        self.question(path, &own)
    }
}

/// The parameters of a place in a list.
const OF_LIST: [&str; 2] = ["cursor", "page_number"];

/// A path and its query.
pub(super) fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(pairs);
    // Both are for people to read, and mean themselves in a query.
    let query = query.finish().replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'\'')
        .add(b'#')
        .add(b'%')
        .add(b'/')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b'&')
        .add(b'+');
    utf8_percent_encode(name, ENCODED).to_string()
}

/// A time of the clocks, as a field of a form has it.
fn clock(text: &str, zone: Tz) -> Option<UtcInstant> {
    local(text).map(|local| instant_of(local, zone))
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let local = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
    let local = local.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    local.or_else(date).filter(|local| (1..=9_999).contains(&local.year()))
}

fn instant(
    (query, page): (&Query, &PageParams),
    zone: Tz,
    now: UtcInstant,
) -> Result<Option<UtcInstant>, Problem> {
    let Some(text) = &page.as_of else { return Ok(None) };
    // A field that nobody changed shows the exact instant only to the second, and perhaps in another zone.
    let shown = page.as_of_shown.as_deref().and_then(|shown| shown.split_once(' '));
    let is_shown = |field: &str| local(field).is_some_and(|shown| Some(shown) == local(text));
    let exact = shown.filter(|(field, _)| is_shown(field)).and_then(|(_, at)| UtcInstant::parse(at).ok());
    if let Some(at) = exact.or_else(|| clock(text, zone)) {
        return Ok(Some(at));
    }
    let moment: Option<Moment> = query.value("as_of")?;
    // Dates were read as times of the zone.
    Ok(moment.map(|moment| moment.at_utc(now)))
}

fn known_at(
    (query, page): (&Query, &PageParams),
    zone: Tz,
    now: UtcInstant,
) -> Result<Option<String>, Problem> {
    let Some(text) = &page.known_at else { return Ok(None) };
    if let Some(at) = clock(text, zone) {
        return Ok(Some(at.to_string()));
    }
    let known_at: Option<KnownAt> = query.value("known_at")?;
    Ok(known_at.map(|known_at| match known_at {
        // Perhaps sealed, so it stays as it is written.
        KnownAt::Position(_) => text.to_owned(),
        KnownAt::Moment(moment) => moment.at_utc(now).to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        let pairs = [("as_of", "2026-07-14T14:30:00Z"), ("tz", "Europe/Berlin"), ("prefix", "a&b=c d/é")];
        let url = address("/users", pairs);
        assert_eq!(url, "/users?as_of=2026-07-14T14:30:00Z&tz=Europe/Berlin&prefix=a%26b%3Dc+d/%C3%A9");
        let (_, query) = url.split_once('?').unwrap();
        let read: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(read, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(segment("a/b c%é"), "a%2Fb%20c%25%C3%A9");
        // Lines that are copied have an address in single quotes.
        assert_eq!(segment("a'b"), "a%27b");
        assert!(!address("/", [("prefix", "a'b")]).contains('\''));
    }

    #[test]
    fn times_of_the_clocks_are_those_of_the_zone() {
        let zone: Tz = "Asia/Kolkata".parse().unwrap();
        for (text, at) in [
            ("2026-07-14T16:30", Some("2026-07-14T11:00:00Z")),
            ("2026-07-14T16:30:05", Some("2026-07-14T11:00:05Z")),
            ("2026-07-14 16:30", Some("2026-07-14T11:00:00Z")),
            ("2026-07-14", Some("2026-07-13T18:30:00Z")),
            ("2026-07-14T16:30:00Z", None),
            ("-262143-01-01T00:00", None),
            ("90d", None),
            ("17", None),
        ] {
            assert_eq!(clock(text, zone), at.and_then(|at| UtcInstant::parse(at).ok()), "{text}");
        }
    }
}
