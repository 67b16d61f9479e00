//! The past that is published: how large it is, and where it is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanCount;
use lastseen::population::{Plan, Population as Simulated, Timeline};
use lastseen_event::{EventType, UtcInstant};
use lastseen_tests::Process;
use lastseen_tests::instant::now;
use serde_json::{Value, json};

use crate::harness::BINARY;
use crate::harness::figures::whole;
use crate::harness::workload::Population;
use crate::publish::publish;

const COPIED_WITHIN: Duration = Duration::from_mins(5);

/// About how large it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) members: u32,
    pub(crate) events: u32,
    pub(crate) tenants: u32,
    pub(crate) days: u32,
}

impl Size {
    /// A hundredth of it, in as many days.
    pub(crate) fn hundredth(self) -> Self {
        let [members, events, tenants] =
            [self.members, self.events, self.tenants].map(|all| (all / 100).max(1));
        Self { members, events, tenants, days: self.days }
    }

    /// The plan that comes to about this much by `until`: a few users tell what comes of one of them.
    fn plan(self, until: UtcInstant) -> Plan {
        const FEW: u32 = 10_000;
        let Self { members, events, tenants, days } = self;
        let users = members.min(FEW.max(4 * tenants));
        let quiet = Plan { seed: 1, users, tenants, days, until, visits_permille: 0, visits_at_any_hour: 0 };
        let usual = Plan { visits_permille: 1_000, ..quiet };
        let [(created, least), (_, often)] = [quiet, usual].map(of_one_user);
        let users = (f64::from(members) / created) as u32;
        let wanted = f64::from(events) / f64::from(users);
        let visits_permille = (1_000.0 * (wanted - least) / (often - least)).round() as u32;
        Plan { users, visits_permille, ..quiet }
    }
}

/// The number of members and of events for each user of a plan.
fn of_one_user(plan: Plan) -> (f64, f64) {
    let mut timeline = Timeline::new(simulated(plan));
    let (mut members, mut events) = (0, 0);
    while let Some(occurrence) = timeline.next_until(plan.until) {
        members += u32::from(occurrence.event_type() == EventType::UserCreated);
        events += 1;
    }
    let users = f64::from(plan.users);
    (f64::from(members) / users, f64::from(events) / users)
}

fn simulated(plan: Plan) -> Arc<Simulated> {
    Arc::new(Simulated::new(plan).expect("a plan of a size that is simulated"))
}

/// A history on disk.
pub(crate) struct History {
    /// The data directory. All of it is sealed, and there is a snapshot.
    pub(crate) data: PathBuf,
    pub(crate) population: Population,
    pub(crate) events: u64,
}

impl History {
    /// The history in the directory `home`, published now unless it is there.
    pub(crate) fn at(home: &Path, size: Size) -> Self {
        let (data, note) = (home.join("data"), home.join("history.json"));
        let asked = json!([size.members, size.events, size.tenants, size.days]);
        if let Ok(made) = fs::read(&note) {
            let made: Value = serde_json::from_slice(&made).expect("this benchmark wrote it");
            assert_eq!(made["asked"], asked, "{} holds a history of another size", home.display());
            let number = |field: &str| made[field].as_u64().expect("this benchmark wrote it");
            let small = |field| u32::try_from(number(field)).expect("this benchmark wrote it");
            let plan = Plan {
                seed: 1,
                users: small("users"),
                tenants: size.tenants,
                days: size.days,
                until: UtcInstant::from_micros(number("until").cast_signed()),
                visits_permille: small("visits_permille"),
                visits_at_any_hour: 0,
            };
            println!("    {}: there already", describe(size, number("events")));
            return Self { data, population: Population::new(simulated(plan)), events: number("events") };
        }
        assert!(!data.exists(), "{} was left half written: remove it", data.display());
        fs::create_dir_all(home).expect("a directory can be made there");
        let plan = size.plan(UtcInstant::from_micros(now() / 1_000 * 1_000));
        let population = simulated(plan);
        let (events, elapsed) = publish(&population, &data);
        let rate = whole(events as f64 / elapsed.as_secs_f64());
        println!("    {}: published at {rate} events/s", describe(size, events));
        let made = json!({
            "asked": asked,
            "users": plan.users,
            "visits_permille": plan.visits_permille,
            "until": plan.until.as_micros(),
            "events": events,
        });
        fs::write(note, made.to_string()).expect("the directory takes files");
        Self { data, population: Population::new(population), events }
    }

    /// The same history in a directory of its own in `directory`, to be written to.
    pub(crate) fn copy(self, directory: &Path) -> Self {
        let copy = tempfile::tempdir_in(directory).expect("the directory takes others").keep();
        let mut command = Command::new(BINARY);
        command.arg("backup").arg(&copy).arg("--data").arg(&self.data);
        let ended = Process::start(command).wait(COPIED_WITHIN);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let snapshots = copy.join("snapshots");
        fs::create_dir(&snapshots).expect("a backup holds nothing that is worth only time");
        for file in fs::read_dir(self.data.join("snapshots")).expect("the end left one").flatten() {
            fs::copy(file.path(), snapshots.join(file.file_name())).expect("a snapshot is a file");
        }
        let dictionary = Path::new("segments").join("dictionary");
        if self.data.join(&dictionary).exists() {
            fs::copy(self.data.join(&dictionary), copy.join(dictionary)).expect("a dictionary is a file");
        }
        Self { data: copy, ..self }
    }
}

fn describe(size: Size, events: u64) -> String {
    let [members, tenants] = [size.members, size.tenants].map(|count| HumanCount(count.into()));
    format!(
        "{} events of {} days, about {members} members in {tenants} tenants",
        HumanCount(events),
        size.days
    )
}
