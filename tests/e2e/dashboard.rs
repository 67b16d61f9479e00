//! The dashboard in a real browser: every number on it is the API's, whatever instant, zone and filter; links, forms, sessions
//! and live numbers do as they say; without scripts, in both themes, on narrow and wide screens. Needs Chromium and its driver;
//! says so and does nothing where they are not there.

use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::{DAY, now, rfc3339};
use lastseen_tests::{Authority, Browser, Client, Events, Seeded, Server, eventually, path_segment};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{empty_server, lastseen, text};
use crate::keys::{create, until, until_known};
use crate::tls;
use crate::worlds::{backfilled_history, git_history, publish};

/// A server with some hundred simulated users of the last ninety days in a few tenants, and estimates of some before.
fn simulated() -> (Server, TempDir) {
    let (server, data) = empty_server();
    let arguments = ["--users", "400", "--tenants", "6", "--days", "90", "--no-live", "--seed", "7"];
    let ended = lastseen(&[&["simulate", "--server", server.url()][..], &arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (mut events, now) = (Events::seeded(71), now());
    let mut more = Vec::new();
    for user in 0..40 {
        let mut estimate = events.estimated(("acme", &format!("guess{user}")), now - (20 + user % 15) * DAY);
        estimate["batch"] = "users-2026".into();
        more.push(estimate);
    }
    more.push(events.created_confirmed(("acme", "zoë / 1"), now - 3 * DAY));
    server.client().publish(&more);
    (server, data)
}

/// The first tenant of the list.
fn largest(client: &Client) -> String {
    client.ask("/v1/tenants?limit=1")["tenants"][0]["tenant_id"].as_str().unwrap().to_owned()
}

/// Everything on the page that says which field of which answer it is.
const CRAWL: &str = r"
const parts = new Map();
const of = (api) => parts.get(api) ?? parts.set(api, { fields: [], tables: [] }).get(api);
for (const element of document.querySelectorAll('main [data-field]:not(th)')) {
  const from = element.dataset.from ? document.querySelector(element.dataset.from) : element.closest('[data-api]');
  if (!from?.dataset.api) throw new Error('no answer for ' + element.outerHTML);
  of(from.dataset.api).fields.push([element.dataset.field, Number(element.value ?? element.dataset.value ?? element.textContent.replace(/\D/g, '')), element.textContent]);
}
for (const table of document.querySelectorAll('table[data-rows]')) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.field);
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => Number(cell.textContent.replace(/\D/g, ''))));
  of(table.closest('[data-api]').dataset.api).tables.push({ pointer: table.dataset.rows, names: names.slice(1), rows });
}
return [...parts].map(([api, part]) => ({ api, ...part }));
";

/// Compares every number of the page that is shown with the API's answer; their count.
fn compare(browser: &Browser, client: &Client) -> Result<usize, String> {
    let mut compared = 0;
    let mut check = |is_equal: bool, what: &dyn Fn() -> String| {
        compared += 1;
        if is_equal { Ok(()) } else { Err(format!("{} on {}", what(), browser.url())) }
    };
    for part in browser.run(CRAWL).as_array().unwrap() {
        let api = part["api"].as_str().unwrap();
        let answer = client.ask(api);
        for field in part["fields"].as_array().unwrap() {
            let pointer = field[0].as_str().unwrap();
            let expected = answer.pointer(pointer).unwrap_or_else(|| panic!("{api} {pointer}: {answer}"));
            let digits: String = field[2].as_str().unwrap().chars().filter(char::is_ascii_digit).collect();
            // Ratios and cells of cohorts show per cent.
            let is_shown_whole = expected.is_u64() && !pointer.contains("/active/");
            let is_text_equal = !is_shown_whole || digits.parse().ok() == expected.as_u64();
            check(field[1].as_f64() == expected.as_f64() && is_text_equal, &|| {
                format!("{api} {pointer}: {field} in place of {expected}")
            })?;
        }
        for table in part["tables"].as_array().unwrap() {
            let rows = answer.pointer(table["pointer"].as_str().unwrap()).unwrap().as_array().unwrap();
            let shown = table["rows"].as_array().unwrap();
            check(shown.len() == rows.len(), &|| format!("{api}: {} rows", shown.len()))?;
            for (shown, row) in shown.iter().zip(rows) {
                for (name, value) in table["names"].as_array().unwrap().iter().zip(shown.as_array().unwrap())
                {
                    let expected =
                        row.pointer(&format!("/{}", name.as_str().unwrap())).unwrap_or(&json!(0)).clone();
                    check(*value == expected, &|| format!("{api} {name} {row}: {value}"))?;
                }
            }
        }
    }
    Ok(compared)
}

/// Goes to a page and compares every number on it; their count. A window of now moves on between the page and the answer, and
/// a page may show an answer of ten seconds ago: within a minute one of some tries meets nobody.
fn crawl(browser: &Browser, server: &Server, client: &Client, path: &str) -> usize {
    let mut differs = String::new();
    let compared = eventually(Duration::from_mins(1), || {
        visit(browser, server, path);
        compare(browser, client).map_err(|error| differs = error).ok()
    });
    compared.unwrap_or_else(|| panic!("{differs}"))
}

/// Goes to a page, which must be one without complaints.
fn visit(browser: &Browser, server: &Server, path: &str) {
    browser.go(&format!("{}{path}", server.url()));
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
}

#[test]
fn every_number_on_every_page_is_that_of_the_api() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    let client = server.client();
    let (tenant, mut random, now) = (path_segment(&largest(client)), Seeded::new(4_711), now());
    let position = client.ask("/v1/summary")["position"].as_u64().unwrap();
    let users = client.ask(&format!("/v1/tenants/{tenant}/users?limit=1&sort=created_at"));
    let user = path_segment(users["users"][0]["user_id"].as_str().unwrap());
    let mut compared = 0;
    for round in 0..14 {
        let as_of = rfc3339(now - i64::try_from(random.below(60 * 24)).unwrap() * DAY / 24);
        let known_at = (random.below(position) + 1).to_string();
        let zone = random.pick(&["UTC", "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"]);
        let mut query = vec![format!("tz={zone}"), format!("range={}", random.pick(&["30", "90", "365"]))];
        if round % 3 > 0 {
            query.push(format!("as_of={as_of}"));
        }
        if round % 4 == 3 {
            query.push(format!("known_at={known_at}"));
        }
        if random.below(3) == 0 {
            let filters = ["types=login", "provenance=observed", "types=token_refresh,tenant_switch"];
            query.push((*random.pick(&filters)).to_owned());
        }
        let of = random.pick(&["", "&of=persons"]);
        let query = query.join("&");
        for path in [
            format!("/?{query}{of}"),
            format!("/tenants/{tenant}?{query}"),
            format!("/tenants?{query}"),
            format!("/users?{query}{of}&status=inactive,never_seen&window=7d"),
            format!("/tenants/{tenant}/users?{query}&status=active&prefix=usr_1"),
            format!("/tenants/{tenant}/users/{user}?{query}"),
        ] {
            // A tenant or a user that nobody knew then is no page.
            if client.get(&path).status == 404 && (path.contains("known_at") || path.contains("as_of")) {
                continue;
            }
            compared += crawl(&browser, &server, client, &path);
        }
    }
    assert!(compared > 20_000, "{compared}");
}

#[test]
fn real_history_is_shown_as_the_api_tells_it() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = empty_server();
    let (events, _) = git_history();
    publish(server.client(), &events);
    publish(server.client(), &backfilled_history());
    let mut compared = 0;
    for path in [
        "/?as_of=2024-03-01T00:00:00Z&range=365",
        "/?as_of=2023-07-01T12:00:00Z&tz=Asia/Tokyo&of=persons",
        "/tenants?as_of=2024-03-01T00:00:00Z",
    ] {
        compared += crawl(&browser, &server, server.client(), path);
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn a_tile_leads_to_exactly_its_people() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    let tenant = path_segment(&largest(server.client()));
    for page in
        ["/?as_of=2d".to_owned(), "/?as_of=2d&of=persons".to_owned(), format!("/tenants/{tenant}?as_of=2d")]
    {
        for tile in 1..=3 {
            visit(&browser, &server, &page);
            let shown = browser.text(&format!(".tiles .tile:nth-child({tile}) .big"));
            browser.follow(&format!(".tiles .tile:nth-child({tile}) h2 a"));
            assert_eq!(browser.text("h1 data"), shown, "{page} {tile} {}", browser.url());
        }
        for (row, status) in [(1, "active"), (2, "inactive"), (3, "never_seen"), (4, "pending")] {
            if page.contains("persons") {
                continue;
            }
            visit(&browser, &server, &page);
            let links = ".counts a";
            let link = format!("return [...document.querySelectorAll('{links}')][{}].href", row - 1);
            let href = browser.run(&link).as_str().unwrap().to_owned();
            assert!(href.contains(&format!("status={status}")), "{href}");
            let shown = browser.run(&format!("return [...document.querySelectorAll('{links}')][{}].closest('div').querySelector('data').textContent", row - 1));
            browser.go(&href);
            assert_eq!(browser.text("h1 data"), shown.as_str().unwrap(), "{href}");
        }
    }
}

#[test]
fn a_day_of_the_chart_leads_to_exactly_its_people() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    let (tenant, mut random) = (path_segment(&largest(server.client())), Seeded::new(4_713));
    for page in [
        "/?tz=Europe/Berlin".to_owned(),
        "/?tz=UTC&of=persons&provenance=observed".to_owned(),
        "/?tz=America/Los_Angeles&as_of=20d".to_owned(),
        format!("/tenants/{tenant}?tz=Asia/Kolkata&types=login"),
    ] {
        for _ in 0..3 {
            visit(&browser, &server, &page);
            let steps = 1 + random.below(60);
            let row = format!("[...document.querySelectorAll('#active tbody tr')].at(-{steps})");
            let shown = browser.run(&format!("return {row}.cells[1].textContent"));
            let day = browser.run(&format!("return {row}.cells[0].textContent"));
            let chart = "[...document.querySelectorAll('#active svg')].find((it) => it.clientWidth)";
            let press = format!(
                "const chart = {chart}; chart.focus(); window.isStillHere = true; \
                 const press = (key) => chart.dispatchEvent(new KeyboardEvent('keydown', {{ key, bubbles: true }})); \
                 for (let at = 0; at < {steps}; at += 1) press('ArrowLeft'); press('Enter')"
            );
            browser.run(&press);
            browser.until("return !window.isStillHere && document.readyState === 'complete'");
            browser.whole();
            let title = browser.text("h1");
            assert_eq!(json!(browser.text("h1 data")), shown, "{page} {}", browser.url());
            assert!(title.ends_with(&format!(" active on {}", day.as_str().unwrap())), "{title} {day}");
        }
    }
}

#[test]
fn the_bar_turns_a_page_to_another_instant_and_its_address_says_so() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    visit(&browser, &server, "/");
    browser.click(".pop.as-of summary");
    browser.run("document.querySelector('input[name=as_of]').value = '2026-10-20T12:30:00'; document.querySelector('input[name=tz]').value = 'Europe/Berlin'");
    browser.click(".pop.as-of button");
    browser.until("return document.body.classList.contains('is-past')");
    browser.whole();
    let url = browser.url();
    assert!(
        url.contains("as_of=2026-10-20T10:30:00")
            && url.contains("tz=Europe/Berlin")
            && !url.contains("known_at"),
        "{url}"
    );
    let shown = browser.text(".tiles .big");
    // Somebody else sees the same.
    let other = Browser::open().unwrap();
    other.go(&url);
    assert_eq!(other.text(".tiles .big"), shown);
    assert!(other.text("h1").contains("20 Oct 2026, 12:30"), "{}", other.text("h1"));
    assert!(other.text(".live").contains("Not live"));
    // Another zone shows the same instant.
    browser.click(".rest .pop:nth-of-type(2) summary");
    browser.run("document.querySelector('input[name=tz]').value = 'America/New_York'");
    browser.follow(".rest .pop:nth-of-type(2) button");
    let moved = browser.url();
    assert!(moved.contains("as_of=2026-10-20T10:30:00Z") && moved.contains("tz=America/New_York"), "{moved}");
    assert!(
        !moved.contains("as_of_shown") && browser.text("h1").contains("6:30"),
        "{moved} {}",
        browser.text("h1")
    );
    assert_eq!(browser.text(".tiles .big"), shown);
    // The kinds that count, and back to now.
    other.click(".rest .pop:nth-of-type(3) summary");
    for name in ["token_refresh", "tenant_switch", "signup_complete"] {
        other.click(&format!("input[name={name}]"));
    }
    other.click(".pop[open] button");
    other.until("return location.search.includes('types=login')");
    other.click(".button.past");
    other.until("return document.body.classList.contains('is-now')");
    assert!(other.url().contains("types=login") && !other.url().contains("as_of"), "{}", other.url());
}

#[test]
fn a_page_follows_what_is_published() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = empty_server();
    visit(&browser, &server, "/");
    assert!(browser.text("h1").contains("Nobody has been seen yet"));
    // It stays as it is while nothing happens, whatever the stream says.
    browser.run("window.isStillHere = true");
    browser.until("return document.querySelector('.live').dataset.state === 'live'");
    browser.until("return performance.getEntriesByType('resource').some((it) => it.initiatorType === 'fetch' && it.responseEnd)");
    assert_eq!(browser.run("return window.isStillHere"), true);
    // The line on the page works as it stands there.
    let line = browser.text("pre");
    let said = Command::new("sh").arg("-c").arg(&line).output().unwrap();
    let said: Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {line} {said:?}"));
    assert_eq!(said["stored"], 1, "{said}");
    browser.until("return document.querySelector('.tiles .big[data-live]')?.textContent === '1'");
    let mut events = Events::seeded(72);
    for user in ["usr_2", "usr_3"] {
        server.client().publish(&[events.login(("acme", user), now())]);
    }
    browser.until("return document.querySelector('.tiles .big').textContent === '3'");
    browser.until("return document.querySelector('[data-tail] li a').textContent === 'usr_3'");
    assert!(browser.text(".live").starts_with("Live"));
    // More than the list shows, at once and one by one: the newest first, each once.
    let users: Vec<String> = (0..40).map(|at| format!("crowd_{at:02}")).collect();
    let crowd: Vec<_> = users.iter().map(|user| events.login(("acme", user), now())).collect();
    server.client().publish(&crowd);
    for user in ["late_1", "late_2"] {
        server.client().publish(&[events.login(("acme", user), now())]);
        browser.until(&format!("return document.querySelector('[data-tail] li a').textContent === '{user}'"));
    }
    let tail =
        browser.run("return [...document.querySelectorAll('[data-tail] li a')].map((it) => it.textContent)");
    let crowd = users.iter().rev().take(11).map(String::as_str);
    let expected: Vec<&str> = ["late_2", "late_1"].into_iter().chain(crowd).collect();
    assert_eq!(tail, json!(expected));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // A stream that is cut marks the numbers and leaves them.
    drop(server);
    browser.until("return document.querySelector('.live').dataset.state === 'stale'");
    assert_eq!(browser.text(".tiles .big"), "45");
}

#[test]
fn what_was_taken_back_is_told_and_does_not_count() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    let mut source = Events::seeded(75);
    server.client().publish(&[source.login(("acme", "guess1"), now() - 2 * DAY)]);
    visit(&browser, &server, "/tenants/acme/users/guess1");
    assert_eq!(browser.run("return document.querySelectorAll('#timeline .wide .guess').length"), 1);
    let events = server.client().ask("/v1/backfills/users-2026")["events"].clone();
    server.client().send("DELETE", &format!("/v1/backfills/users-2026?events={events}"), &[], b"").unwrap();
    let is_over = || server.client().ask("/v1/backfills/users-2026")["state"] == "retracted";
    assert!(eventually(Duration::from_mins(1), || is_over().then_some(())).is_some());
    // The retraction itself is about nobody: the latest events are still there.
    visit(&browser, &server, "/events");
    assert_eq!(browser.run("return document.querySelectorAll('#list tbody tr').length"), 100);
    // An answer of moments ago may be shown once more.
    let is_told = || {
        visit(&browser, &server, "/tenants/acme/users/guess1");
        let shown = browser.run("return document.querySelector('#events').textContent");
        (shown.as_str()?.matches("taken back").count() == 1).then_some(())
    };
    assert!(eventually(Duration::from_mins(1), is_told).is_some(), "{}", browser.text("#events"));
    assert_eq!(browser.run("return document.querySelectorAll('#timeline .guess').length"), 0);
    assert_eq!(browser.run("return document.querySelectorAll('#timeline .wide .held').length"), 1);
}

#[test]
fn a_day_that_was_over_and_moves_is_marked() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = empty_server();
    let (mut events, now) = (Events::seeded(74), now());
    let at = |user: &str, events: &mut Events| events.login(("acme", user), now - 5 * DAY);
    server.client().publish(&[at("usr_1", &mut events), events.login(("acme", "usr_2"), now)]);
    visit(&browser, &server, "/");
    assert_eq!(browser.run("return document.querySelectorAll('.moved').length"), 0);
    server.client().publish(&[at("usr_3", &mut events)]);
    browser.until("return document.querySelector('#active svg.wide .moved') !== null");
    // That day, and no other one: the days after it have it in their week and their month.
    let script = "const rows = [...document.querySelectorAll('#active tbody tr')]; \
                  return rows.filter((row) => row.dataset.before).map((row) => \
                  [JSON.parse(row.dataset.before)[0], row.cells[1].textContent])";
    let moved = browser.run(script);
    assert_eq!((moved[0].clone(), moved[1][0] == moved[1][1]), (json!(["1", "2"]), true), "{moved}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_session_begins_with_a_key_and_ends_with_it() {
    let Some(browser) = Browser::open() else { return };
    let (server, data) = simulated();
    let key = create(data.path(), &["--name", "page", "--scope", "query", "--scope", "replay"]);
    let publisher = create(data.path(), &["--name", "api", "--scope", "publish"]);
    until_known(server.client(), &publisher);
    browser.go(&format!("{}/users?status=active", server.url()));
    assert!(browser.url().contains("/sign-in?next=/users"), "{}", browser.url());
    for (wrong, says) in [("ls_nonsense", "No key in force"), (&*publisher, "not the scope query")] {
        sign_in(&browser, wrong);
        browser.until(&format!("return document.querySelector('.message')?.innerText.includes('{says}')"));
    }
    sign_in(&browser, &key);
    browser.until("return location.pathname === '/users'");
    assert_eq!(
        browser.run("return document.cookie.includes('__Host-lastseen')"),
        false,
        "no script reads it"
    );
    let cookies = browser.devtools("Network.getCookies", &json!({}));
    let cookie =
        cookies["cookies"].as_array().unwrap().iter().find(|it| it["name"] == "__Host-lastseen").unwrap();
    assert!(
        cookie["httpOnly"] == true && cookie["secure"] == true && cookie["sameSite"] == "Strict",
        "{cookie}"
    );
    browser.complaints();
    // Live numbers and downloads go by the same session.
    visit(&browser, &server, "/");
    browser.until("return document.querySelector('.live').dataset.state === 'live'");
    let keys = server.client().with_key(&key);
    assert!(crawl(&browser, &server, &keys, "/") > 100);
    // Whoever signs out elsewhere is signed out here as well, though the page asks for nothing.
    browser.until("return document.querySelector('.live').dataset.state === 'live'");
    browser.run("fetch('/sign-out', { method: 'POST', redirect: 'manual' })");
    browser.until("return location.pathname === '/sign-in'");
    sign_in(&browser, &key);
    browser.until("return location.pathname === '/'");
    browser.whole();
    browser.complaints();
    lastseen(&["keys", "revoke", "page", "--data", text(data.path())]);
    browser.until("return fetch('/v1/summary').then((it) => it.status === 401)");
    browser.go(&format!("{}/", server.url()));
    assert!(browser.url().contains("/sign-in"), "{}", browser.url());
}

#[test]
fn a_link_from_another_site_leads_to_its_page_and_sessions_go_over_tls() {
    let Some(browser) = Browser::open() else { return };
    let authority = Authority::new("ours");
    let directory = tls::directory(&authority.certify(&["localhost", "127.0.0.1"]));
    let server = tls::secured(&directory, &authority, &[]);
    server.client().publish(&[Events::seeded(73).login(("acme", "ada"), now())]);
    let key = create(&directory.path().join("data"), &["--name", "page", "--scope", "query"]);
    until(server.client(), 401);
    browser.go(&format!("{}/", server.url()));
    sign_in(&browser, &key);
    browser.until("return document.querySelector('.tiles .big')?.textContent === '1'");
    browser.until("return document.querySelector('.live').dataset.state === 'live'");
    let page = format!("{}/tenants/acme/users", server.url());
    browser.go(&format!("data:text/html,<a href='{page}'>look</a>"));
    browser.click("a");
    browser.until(&format!(
        "return location.href === '{page}' && document.querySelector('h1')?.innerText === '1 user'"
    ));
}

fn sign_in(browser: &Browser, key: &str) {
    browser.run(&format!("document.querySelector('input[name=key]').value = {}", json!(key)));
    browser.click("form button");
}

#[test]
fn a_bound_key_sees_its_tenants_and_no_others() {
    let Some(browser) = Browser::open() else { return };
    let (server, data) = simulated();
    let tenant = largest(server.client());
    let arguments = ["--scope", "query", "--scope", "replay", "--tenant"];
    let one = create(data.path(), &[&["--name", "one"][..], &arguments, &[&tenant]].concat());
    let two =
        create(data.path(), &[&["--name", "two"][..], &arguments, &[&tenant, "--tenant", "acme"]].concat());
    until_known(server.client(), &two);
    browser.go(&format!("{}/", server.url()));
    sign_in(&browser, &one);
    browser.until(&format!("return location.pathname === '/tenants/{}'", path_segment(&tenant)));
    browser.whole();
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert!(
        browser.text("main").contains("Active in the last 30 days")
            && browser.run("return document.querySelectorAll('.tail li').length") == 13
    );
    for page in ["/tenants", "/users", "/events", "/persons/nobody"] {
        browser.go(&format!("{}{page}", server.url()));
        assert_eq!(browser.text("h1"), "Not for this key", "{page}");
        assert!(!browser.text("body").contains("acme"), "{page}");
    }
    browser.go(&format!("{}/tenants/acme", server.url()));
    let known = browser.text("main");
    browser.go(&format!("{}/tenants/nobody-knows-it", server.url()));
    let without_request =
        |text: &str| text.lines().filter(|line| !line.contains("request")).collect::<Vec<_>>().join("\n");
    assert_eq!(
        without_request(&known),
        without_request(&browser.text("main")),
        "it does not exist for this key"
    );
    browser.go(&format!("{}/", server.url()));
    browser.click(".state form button");
    browser.until("return location.pathname === '/sign-in'");
    sign_in(&browser, &two);
    browser.until("return location.pathname === '/'");
    assert!(browser.text("main").contains("acme") && browser.text("h1") == "Not for this key");
}

/// The pages of a server with users, one of each kind.
fn pages(client: &Client) -> Vec<String> {
    let tenant = largest(client);
    let user =
        client.ask(&format!("/v1/tenants/{}/users?limit=1", path_segment(&tenant)))["users"][0]["user_id"]
            .clone();
    let (tenant, user) = (path_segment(&tenant), path_segment(user.as_str().unwrap()));
    vec![
        "/".to_owned(),
        "/?as_of=10d&range=30".to_owned(),
        format!("/tenants/{tenant}"),
        "/tenants".to_owned(),
        "/users".to_owned(),
        "/users?of=persons".to_owned(),
        format!("/tenants/{tenant}/users?status=never_seen"),
        format!("/tenants/{tenant}/users/{user}"),
        format!("/persons/{user}"),
        format!("/tenants/acme/users/{}", path_segment("zoë / 1")),
        "/events".to_owned(),
        "/sign-in".to_owned(),
    ]
}

#[test]
fn nothing_is_in_the_way_of_anybody_in_both_themes_and_at_every_width() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    let mut found = Vec::new();
    for page in pages(server.client()) {
        for (theme, width) in [("light", 1_440), ("dark", 768), ("light", 360)] {
            browser.theme(theme);
            browser.resize(width);
            visit(&browser, &server, &page);
            let wide = browser.run("return document.documentElement.scrollWidth - innerWidth");
            if wide != 0 {
                found.push(format!("{page} at {width} pixels is {wide} wider than the screen"));
            }
            let Some(barriers) = browser.barriers() else { return };
            found.extend(barriers.into_iter().map(|barrier| format!("{page} {theme} {width}: {barrier}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn pages_are_whole_without_scripts() {
    let Some(browser) = Browser::open() else { return };
    let (server, _data) = simulated();
    browser.scripts(false);
    for page in pages(server.client()) {
        visit(&browser, &server, &page);
        assert!(browser.run("return document.documentElement.classList.contains('has-script')") == false);
        assert!(!browser.text("h1").is_empty(), "{page}");
    }
    visit(&browser, &server, "/tenants/acme/users");
    browser.run("document.querySelector('input[name=prefix]').value = 'guess1'");
    browser.follow("form[role=search] button");
    assert!(browser.url().contains("prefix=guess1"), "{}", browser.url());
    assert_eq!(browser.text("h1 data"), "11");
    assert_eq!(compare(&browser, server.client()), Ok(1));
}

/// Bytes that a browser gets, which takes compressed answers.
fn sent(server: &Server, path: &str) -> usize {
    let answer = server.client().send("GET", path, &[("accept-encoding", "gzip")], b"").unwrap();
    answer.body.len()
}

#[test]
fn pages_are_light_and_load_nothing_from_elsewhere() {
    let (server, _data) = simulated();
    for page in pages(server.client()) {
        let answer = server.client().get(&page);
        let page = if answer.status == 303 { answer.header("location").to_owned() } else { page };
        let answer = server.client().get(&page);
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.body.len() < 200_000, "{page}: {} bytes", answer.body.len());
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'; style-src 'self'; script-src 'self'")
        );
        let html = answer.text();
        for forbidden in ["style=\"", "onclick", "<style", "src=\"http", "href=\"http", "javascript:"] {
            assert!(!html.contains(forbidden), "{page} has {forbidden}");
        }
        let script = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        let asset = server.client().get(script);
        assert_eq!((asset.status, asset.header("content-type")), (200, "text/javascript; charset=utf-8"));
        assert!(asset.header("cache-control").contains("immutable"));
        let style = html.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
        let weight: usize = [&*page, script, style].map(|path| sent(&server, path)).iter().sum();
        assert!(weight < 100_000, "{page}: {weight} bytes");
    }
    assert!(sent(&server, "/?range=365") < 100_000);
    server.client().get("/assets/other.js").problem(404, "unknown_route", "an asset that is not there");
}

#[test]
fn bad_addresses_are_told_as_pages() {
    let (server, _data) = empty_server();
    for (path, status, says) in [
        ("/?as_of=yesterday", 400, "invalid_parameter"),
        ("/?tz=Mars/Base", 400, "invalid_parameter"),
        ("/?range=7", 400, "invalid_parameter"),
        ("/?x=1", 400, "unknown_parameter"),
        ("/tenants/nobody", 404, "unknown_tenant"),
        ("/tenants/nobody/users", 404, "unknown_tenant"),
        ("/tenants/nobody/users/one", 404, "unknown_tenant"),
        ("/persons/nobody", 404, "unknown_user"),
    ] {
        let answer = server.client().get(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(
            answer.text().contains(says) && answer.text().contains("To the overview"),
            "{path}: {}",
            answer.text()
        );
    }
    for (path, status) in [
        ("/tenants?page_number=18446744073709551615", 200),
        ("/users?page_number=0&status=active", 200),
        ("/?as_of=0001-01-01T00:00:00Z&tz=UTC", 200),
        ("/?as_of=9999-12-31T23:59:59Z&tz=Pacific/Apia", 200),
        ("/?as_of=-262143-01-01T00:00", 400),
    ] {
        assert_eq!(server.client().get(path).status, status, "{path}");
    }
    // A form of another site begins no session.
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.example")];
    let refused = server.client().send("POST", "/sign-in", &headers, b"key=ls_x&next=/").unwrap();
    assert_eq!(refused.status, 403);
}
