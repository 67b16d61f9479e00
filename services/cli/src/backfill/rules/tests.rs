//! Rows, said as texts, and the events that they stand for by what is said of their columns.

use lastseen_event::{BatchName, UtcInstant};

use super::logins::Login;
use super::notes::Notes;
use super::users::{Deletion, Row, Turns};
use super::values::{Moment, Values};
use crate::backfill::formats::record::{Fields, Kind, Record};
use crate::backfill::settings::Section;

/// 2026-03-01T12:00:00Z.
const NOW: UtcInstant = UtcInstant::from_micros(1_772_366_400_000_000);

fn section(said: &str) -> Section {
    let base = "tenant = \"acme\"\nuser_column = \"id\"\ncreated_column = \"made\"\n";
    toml::from_str(&format!("{base}{said}")).unwrap()
}

fn record(fields: &Fields, values: &[(&str, &str)]) -> Record {
    let mut record = Record::new(fields);
    for (at, field) in fields.iter() {
        let value = values.iter().find(|(name, _)| *name == field.path.name());
        if let Some((_, text)) = value.filter(|(_, text)| !text.is_empty()) {
            record.set(at, text, Kind::Text);
        }
    }
    record
}

const MOMENT: Moment = Moment { now: NOW, latest: NOW, is_of_cells: true };

/// The events of a row, each with its instant and whether it says that the user is confirmed; and what was noted.
fn events(said: &str, values: &[(&str, &str)]) -> Result<(Vec<String>, Notes), String> {
    let section = section(said);
    let (fields, rules) = section.user_rules().map_err(|unsaid| unsaid.to_string())?;
    let record = record(&fields, values);
    let reading = section.reading();
    let values = Values { record: &record, fields: &fields, reading: &reading, moment: MOMENT };
    let mut notes = Notes::default();
    let row = Row::read(values, &rules, &mut notes).map_err(|fault| fault.to_string())?;
    let Some(row) = row else { return Ok((vec!["skipped".to_owned()], notes)) };
    let mut events: Vec<String> = row
        .events(BatchName::new("b").unwrap(), Turns::default())
        .map(|event| {
            let confirmed = event.confirmed.map_or_else(String::new, |confirmed| format!(" {confirmed}"));
            let counts = event.counts.map_or_else(String::new, |counts| format!(" counts {counts}"));
            format!("{} {}{confirmed}{counts}", event.event_type, event.occurred_at)
        })
        .collect();
    if row.deletion == Deletion::Sometime {
        events.push(format!("gone, changed {:?}", row.changed_at.map(|at| at.to_string())));
    }
    Ok((events, notes))
}

fn of(said: &str, values: &[(&str, &str)]) -> Vec<String> {
    let values = [&[("id", "u"), ("made", "2026-01-01T00:00:00Z")], values].concat();
    events(said, &values).unwrap().0
}

#[test]
fn an_account_is_confirmed_since_an_instant() {
    let said = "confirmed_at_column = \"sure\"\nmodified_column = \"changed\"";
    let created = "user_created 2026-01-01T00:00:00Z";
    assert_eq!(of(said, &[("sure", ""), ("changed", "2026-02-01")]), [format!("{created} false")]);
    assert_eq!(
        of(said, &[("sure", "2026-01-05T00:00:00Z")]),
        [
            format!("{created} false"),
            "user_confirmed 2026-01-05T00:00:00Z".to_owned(),
            "estimated_activity 2026-01-05T00:00:00Z".to_owned(),
        ]
    );
    assert_eq!(
        of(said, &[("sure", "2026-01-01T00:00:00Z"), ("changed", "2026-02-01")]),
        [format!("{created} true"), "estimated_activity 2026-02-01T00:00:00Z".to_owned()]
    );
    let both = format!("{said}\nconfirmed_where = \"state=on\"");
    assert_eq!(of(&both, &[("sure", "2026-01-05"), ("state", "off")]), [format!("{created} false")]);
    assert_eq!(of(&both, &[("sure", "2026-01-05"), ("state", "on")]).len(), 3);
}

#[test]
fn who_was_never_seen_is_not_estimated() {
    let said = "confirmed = \"all\"\nmodified_column = \"changed\"\nobserved_column = [\"now\", \"before\"]";
    let changed = ("changed", "2026-02-01T00:00:00Z");
    let created = "user_created 2026-01-01T00:00:00Z true";
    let estimated = "estimated_activity 2026-02-01T00:00:00Z";
    assert_eq!(of(said, &[changed]), [created]);
    assert_eq!(of(&format!("{said}\nestimate_unseen = true"), &[changed]), [created, estimated]);
    let seen = [changed, ("now", "2026-01-20T08:00:00Z"), ("before", "2026-01-10T08:00:00Z")];
    let logins = ["login 2026-01-10T08:00:00Z", "login 2026-01-20T08:00:00Z"];
    assert_eq!(of(said, &seen), [&[created, estimated], &logins[..]].concat());
    let twice = [changed, ("now", "2026-01-10T08:00:00Z"), ("before", "2026-01-10T08:00:00Z")];
    assert_eq!(of(said, &twice).len(), 3, "each instant once");
}

#[test]
fn a_creation_that_is_not_told_is_given_or_the_earliest_instant() {
    let with = |created: &str, values: &[(&str, &str)]| {
        let said = format!("confirmed = \"all\"\nmodified_column = \"changed\"\n{created}");
        events(&said, &[&[("id", "u")], values].concat())
    };
    assert!(with("", &[]).unwrap_err().contains("made: expected an instant; --created says one"));
    let (given, notes) = with("created = \"2024-01-31\"", &[]).unwrap();
    assert_eq!(
        given,
        ["user_created 2024-01-31T00:00:00Z true"],
        "no estimate of an instant that is nobody's"
    );
    assert_eq!((notes.created_given, notes.without_instant), (1, 1));
    let (earliest, notes) = with("created = \"earliest\"", &[("changed", "2026-02-01")]).unwrap();
    assert_eq!(
        earliest,
        ["user_created 2026-02-01T00:00:00Z true", "estimated_activity 2026-02-01T00:00:00Z"]
    );
    assert_eq!((notes.created_earliest, notes.dates_first), (1, 1));
    assert!(with("created = \"earliest\"", &[]).is_err());
    assert!(with("created = \"soon\"", &[]).unwrap_err().contains("--created: expected an instant"));
}

#[test]
fn a_deletion_has_its_instant_or_that_of_the_change() {
    let said = "confirmed = \"none\"\ndeleted_column = \"gone\"\ndeleted_where = [\"state=off\", \"until>now\"]\n\
                deleted_since_column = \"since\"\nmodified_column = \"changed\"\nobserved_column = \"seen\"";
    let last = |values: &[(&str, &str)]| of(said, values).pop().unwrap();
    assert_eq!(last(&[("gone", "2026-02-02"), ("state", "off")]), "user_deleted 2026-02-02T00:00:00Z");
    assert_eq!(last(&[("state", "off"), ("since", "2026-02-03")]), "user_deleted 2026-02-03T00:00:00Z");
    assert_eq!(last(&[("state", "off")]), "gone, changed None");
    let changed = [("state", "off"), ("changed", "2026-02-01"), ("seen", "2026-02-05T01:00:00Z")];
    assert_eq!(last(&changed), "gone, changed Some(\"2026-02-05T01:00:00Z\")", "nobody signs in after it");
    assert_eq!(last(&[("until", "2026-03-01T12:00:01Z")]), "gone, changed None");
    assert_eq!(last(&[("until", "2026-03-01T11:59:59Z")]), "user_created 2026-01-01T00:00:00Z false");
    assert!(events(said, &[("id", "u"), ("made", "2026-01-01"), ("until", "soon")]).is_err());
}

#[test]
fn who_is_nobody_is_skipped_and_who_is_none_is_left_out() {
    let said = "confirmed = \"none\"\nskip_where = \"mail= and phone=\"\nleft_out_where = \"kind=bot\"\nleft_out_column = \"test\"";
    assert_eq!(of(said, &[]), ["skipped"]);
    assert_eq!(of(said, &[("mail", "x")]), ["user_created 2026-01-01T00:00:00Z false"]);
    let left_out = "user_created 2026-01-01T00:00:00Z false counts false";
    assert_eq!(of(said, &[("mail", "x"), ("kind", "bot")]), [left_out]);
    assert_eq!(of(said, &[("mail", "x"), ("test", "t")]), [left_out]);
}

#[test]
fn a_bad_row_is_refused_with_its_own_column_and_the_flag() {
    let said = "confirmed_column = \"ok\"\nmodified_column = \"changed\"\nobserved_column = \"seen\"\nleft_out_column = \"bot\"";
    let good = [("id", "u"), ("made", "2026-01-01"), ("ok", "t")];
    for (column, value, fault) in [
        ("id", "", "id: expected an id, found null (--user-column)"),
        ("id", "None", "id: expected an id, found null (--user-column)"),
        ("id", "2.7E+17", "id: expected an id as its digits"),
        ("id", "anonymous", "id: expected"),
        ("ok", "", "ok: expected true or false (t or f, 1 or 0, yes or no), found null (--confirmed-column)"),
        ("ok", "maybe", "ok: expected true or false"),
        ("made", "", "made: expected an instant"),
        (
            "made",
            "1767715200",
            "made: expected an instant such as 2026-01-06T16:00:00Z; of a number, --instants",
        ),
        ("made", "0001-01-01T00:00:00Z", "made: expected 1990-01-01T00:00:00Z or later"),
        (
            "changed",
            "2199-01-01",
            "changed: expected no instant ahead of now, found 2199-01-01T00:00:00Z (--modified-column)",
        ),
        ("seen", "2026-01-05", "seen: expected an instant: a date alone is no observation"),
        ("bot", "robot", "bot: expected true or false"),
    ] {
        let mut bad: Vec<(&str, &str)> = good.into_iter().filter(|(name, _)| *name != column).collect();
        bad.push((column, value));
        let found = events(said, &bad).unwrap_err();
        assert!(found.starts_with(fault), "{column} {value:?}: {found}");
    }
}

#[test]
fn what_is_assumed_is_noted() {
    let said = "confirmed = \"none\"\ntz = \"Europe/Berlin\"\nobserved_column = \"seen\"\ndates_are_days = true\nnull = [\"0\"]\n\
                modified_column = \"changed\"";
    let row = |values: &[(&str, &str)]| events(said, values).unwrap();
    let (found, notes) =
        row(&[("id", "8127.0"), ("made", "2025-10-26 02:30:00"), ("seen", "2026-02-28"), ("changed", "0")]);
    assert_eq!(found, ["user_created 2025-10-26T00:30:00Z false", "login 2026-02-28T22:59:59.999999Z"]);
    assert_eq!([notes.without_offset, notes.shown_twice, notes.dates_last, notes.damaged_ids], [1; 4]);
    assert_eq!((notes.dates_first, notes.dates_running), (0, 0));
    let (found, notes) = row(&[("id", "u"), ("made", "2026-01-01"), ("seen", "2026-03-01")]);
    assert_eq!(found[1], "login 2026-02-28T23:00:00Z", "the day is not over");
    assert_eq!((notes.dates_first, notes.dates_last, notes.dates_running), (1, 0, 1));
}

#[test]
fn rows_of_logins_count_by_what_they_are() {
    let login = |said: &str, values: &[(&str, &str)]| {
        let section = section(&format!("login_column = \"at\"\n{said}"));
        let (fields, rules) = section.login_rules().map_err(|unsaid| unsaid.to_string())?;
        let record = record(&fields, values);
        let reading = section.reading();
        let values = Values { record: &record, fields: &fields, reading: &reading, moment: MOMENT };
        let read = Login::read(values, &rules, &mut Notes::default()).map_err(|fault| fault.to_string())?;
        Ok(read.map_or_else(|| "not counted".to_owned(), |login| login.event_type.to_string()))
    };
    let row = |kind: &'static str| [("id", "u"), ("at", "2026-01-01T00:00:00Z"), ("kind", kind)];
    let said = "login_where = [\"kind=in\", \"kind=sso\"]\ntoken_refresh_where = \"kind=token,sso\"\nsignup_where = \"kind=up\"";
    for (kind, counts) in [
        ("in", "login"),
        ("sso", "login"),
        ("token", "token_refresh"),
        ("up", "signup_complete"),
        ("out", "not counted"),
        ("", "not counted"),
    ] {
        assert_eq!(login(said, &row(kind)), Ok::<_, String>(counts.to_owned()), "{kind}");
        assert_eq!(login("", &row(kind)), Ok("login".to_owned()), "every row");
    }
    assert_eq!(login(said, &[("at", "2026-01-01T00:00:00Z"), ("kind", "in")]), Ok("not counted".to_owned()));
    assert!(login("", &[("at", "2026-01-01T00:00:00Z")]).is_err(), "every row has a user");
    assert_eq!(login("skip_where = \"id=\"", &[]), Ok("not counted".to_owned()));
    assert!(
        login("logins_need = \"login_where\"", &row("in")).unwrap_err().starts_with("--login-where says")
    );
}
