//! `GET /` and `GET /tenants/{tenant_id}`: who is active, is it growing, who is slipping away.

use lastseen_projections::{Day, Period, WeekStart};

use crate::http::ask::Ask;
use crate::http::auth::Look;
use crate::http::dashboard::answered::{Answered, Api};
use crate::http::dashboard::asked::{Asked, PageParams, Range, Resolved, address, segment};
use crate::http::dashboard::page::Page;
use crate::http::dashboard::templates::layout::Place;
use crate::http::dashboard::templates::lists::latest_request;
use crate::http::dashboard::templates::overview::{Overview, contents};
use crate::http::dashboard::templates::{message, retention as triangle};
use crate::http::handlers::retention::Retention;
use crate::http::handlers::tenants::TenantsAnswer;
use crate::http::handlers::{active_users, decay, event_counts, retention, summary, tenants, users};
use crate::http::params::params;
use crate::http::params::value::Returning;
use crate::http::problem::Problem;

params! {
    /// An overview.
    OverviewParams {
        ..page: PageParams,
        /// `returning`: bars have those who came back from the period before as well
        stack: Returning = "none",
    }
}

/// The requests of a page about all tenants, or about one.
struct Scoped<'a> {
    asked: &'a Asked,
    tenant_id: Option<&'a str>,
    /// The last day that charts show.
    today: Day,
}

impl Scoped<'_> {
    fn path(&self, of: &str) -> String {
        match self.tenant_id {
            Some(tenant_id) => format!("/v1/tenants/{}/{of}", segment(tenant_id)),
            None => format!("/v1/{of}"),
        }
    }

    /// The pattern of the route, of all tenants or of one.
    fn pattern(&self, of: [&'static str; 2]) -> &'static str {
        of[usize::from(self.tenant_id.is_some())]
    }

    fn from(&self, days: i32) -> String {
        self.today.plus(1 - days).to_string()
    }

    fn summary(&self, window: &str) -> (&'static str, String) {
        let api = self.asked.question(&self.path("summary"), &[("window", window), ("compare", "previous")]);
        (self.pattern(["/v1/summary", "/v1/tenants/{tenant_id}/summary"]), api)
    }

    fn series(&self, period: &str, days: i32) -> (&'static str, String) {
        let (from, to) = (self.from(days), self.today.to_string());
        let own = [("from", from.as_str()), ("to", to.as_str()), ("period", period)];
        let own = &own[..if period == "day" { 2 } else { 3 }];
        let api = self.asked.span(&self.path("active-users"), own);
        (self.pattern(["/v1/active-users", "/v1/tenants/{tenant_id}/active-users"]), api)
    }

    fn retention(&self, period: &str, days: i32) -> (&'static str, String) {
        let (from, to) = (self.from(days), self.today.to_string());
        let api =
            self.asked.span(&self.path("retention"), &[("from", &from), ("to", &to), ("period", period)]);
        (self.pattern(["/v1/retention", "/v1/tenants/{tenant_id}/retention"]), api)
    }

    fn decay(&self) -> (&'static str, String) {
        let api = self.asked.question(&self.path("decay"), &[("window", "30d"), ("days", "30")]);
        (self.pattern(["/v1/decay", "/v1/tenants/{tenant_id}/decay"]), api)
    }

    /// Traffic has no instant of the past: the day of that instant, or its week, would show what came after it.
    fn logins(&self) -> (&'static str, String) {
        let to = match (self.asked.as_of, self.asked.range) {
            (None, _) => self.today,
            (Some(_), Range::Year) => Period::Week(WeekStart::Monday).around(self.today).start().plus(-1),
            (Some(_), _) => self.today.plus(-1),
        };
        let (from, to) = (to.plus(1 - self.asked.range.days()).to_string(), to.to_string());
        let mut own =
            vec![("from", from.as_str()), ("to", to.as_str()), ("types", "login"), ("compare", "previous")];
        if self.asked.range == Range::Year {
            own.push(("period", self.asked.range.counted()));
        }
        if self.asked.zone != chrono_tz::Tz::UTC {
            own.push(("tz", self.asked.zone.name()));
        }
        own.extend(self.asked.known_at.as_deref().map(|known_at| ("known_at", known_at)));
        let api = address(&self.path("event-counts"), own);
        (self.pattern(["/v1/event-counts", "/v1/tenants/{tenant_id}/event-counts"]), api)
    }

    fn users(&self) -> (&'static str, String) {
        ("/v1/tenants/{tenant_id}/users", self.asked.question(&self.path("users"), &[("limit", "8")]))
    }

    fn latest(&self) -> String {
        latest_request("13", self.tenant_id)
    }
}

/// `GET /` and `GET /tenants/{tenant_id}`
pub(in crate::http) async fn overview(ask: Ask<Look, OverviewParams>) -> Result<Page, Problem> {
    let asked = match Asked::of(&ask, &ask.params.page)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    let tenant_id = ask.tenant_id().map(str::to_owned);
    if let (Some(tenants), None) = (&asked.reader.tenants, &tenant_id) {
        if let [tenant_id] = tenants.as_slice() {
            return Ok(Page::Elsewhere(asked.to(&format!("/tenants/{}", segment(tenant_id)), &[])));
        }
        let tenants = tenants.clone();
        return Ok(Page::of(asked, tenants, |view, tenants| message::bound(view, tenants, Place::Overview)));
    }
    let overview = Box::pin(gather(&ask, &asked, tenant_id)).await?;
    Ok(Page::of(asked, overview, contents))
}

async fn gather(
    ask: &Ask<Look, OverviewParams>,
    asked: &Asked,
    tenant_id: Option<String>,
) -> Result<Overview, Problem> {
    let today = asked.today();
    let scoped = Scoped { asked, tenant_id: tenant_id.as_deref(), today };
    let (api, period) = (Api::of(ask, asked.now), asked.range.period());
    let windows = async {
        tokio::join!(
            api.json(scoped.summary("30d"), summary::summary),
            api.json(scoped.summary("7d"), summary::summary),
            api.json(scoped.summary("24h"), summary::summary),
        )
    };
    let series = async {
        tokio::join!(
            api.json(scoped.series("day", asked.range.days()), active_users::active_users),
            api.json(scoped.series(period, asked.range.days()), active_users::active_users),
            cohorts(&api, &scoped),
        )
    };
    let others = async {
        tokio::join!(
            api.json(scoped.decay(), decay::decay),
            api.json(scoped.logins(), event_counts::event_counts),
            some(asked.reader.may_replay && !asked.is_past(), api.newest(scoped.latest())),
            some(tenant_id.is_none(), api.json(first_tenants(asked), tenants::tenants)),
            own_row(&api, &scoped),
            some(tenant_id.is_some(), api.list(scoped.users(), users::users)),
        )
    };
    let ((month, week, day), (days, periods, retention), (decay, logins, latest, tenants, own_row, users)) =
        tokio::join!(Box::pin(windows), Box::pin(series), Box::pin(others));
    // A tenant that is not there is no page with holes, but none.
    let month = if tenant_id.is_some() { month.or_no_page()? } else { month };
    let windows = [month, week, day];
    let with_returning = ask.params.stack.is_some();
    Ok(Overview {
        tenant_id,
        windows,
        days,
        periods,
        retention,
        decay,
        logins,
        latest,
        tenants,
        own_row,
        users,
        with_returning,
    })
}

/// The outcome of what is wanted.
async fn some<T>(is_wanted: bool, outcome: impl Future<Output = T>) -> Option<T> {
    if is_wanted { Some(outcome.await) } else { None }
}

/// The row of the tenant of the page among all tenants, of now: of the past it would take a fold of all history.
async fn own_row(api: &Api<'_, OverviewParams>, scoped: &Scoped<'_>) -> Option<Answered<TenantsAnswer>> {
    let tenant_id = scoped.tenant_id.filter(|_| !scoped.asked.is_past())?;
    let request = scoped.asked.question("/v1/tenants", &[("tenant_id", tenant_id)]);
    Some(api.json(("/v1/tenants", request), tenants::tenants).await)
}

fn first_tenants(asked: &Asked) -> (&'static str, String) {
    (
        "/v1/tenants",
        asked.question("/v1/tenants", &[("limit", "8"), ("compare", "previous"), ("trend", "30")]),
    )
}

/// Cohorts by week, or by month where weeks are too small or too many.
async fn cohorts(api: &Api<'_, OverviewParams>, scoped: &Scoped<'_>) -> Answered<Retention> {
    /// Twelve weeks, and six months.
    const WEEKS: i32 = 12 * 7;
    const MONTHS: i32 = 180;
    const YEAR: i32 = 365;
    if scoped.asked.range == Range::Year {
        return api.json(scoped.retention("month", YEAR), retention::retention).await;
    }
    let weeks = api.json(scoped.retention("week", WEEKS), retention::retention).await;
    let is_small = |weeks: &Retention| weeks.rows.iter().rev().skip(1).any(|row| row.size < triangle::SMALL);
    if scoped.tenant_id.is_some() && weeks.ok().is_some_and(is_small) {
        return api.json(scoped.retention("month", MONTHS), retention::retention).await;
    }
    weeks
}
