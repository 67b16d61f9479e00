//! Integer user ids a tenant, the commonest scheme there is: the ids "0" to "5" in 20,000 tenants are six persons. The rate
//! of their logins beside the rate of as many members with ids of their own, in turns.

use std::time::{Duration, Instant};

use lastseen_tests::Server;
use lastseen_tests::instant::{now, rfc3339};

use crate::probes::{event, publish_all};

const TENANTS: u32 = 20_000;
const USERS: u32 = 6;
const TURNS: u32 = 3;
/// Events of a request.
const BATCH: usize = 5_000;

pub(crate) fn compare(binaries: &[(String, String)], span: Duration) {
    println!(
        "\n{TENANTS} tenants of {USERS} users, logins of random members in batches of {BATCH}, events/s"
    );
    println!("{:<10} {:>16} {:>16} {:>8}", "binary", "ids \"0\" to \"5\"", "ids of their own", "ratio");
    for (name, binary) in binaries {
        for _ in 0..TURNS {
            let [shared, own] = [true, false].map(|shared| rate(binary, shared, span / 2));
            println!("{name:<10} {shared:>16.0} {own:>16.0} {:>8.2}", shared / own);
        }
    }
}

fn rate(binary: &str, shared: bool, span: Duration) -> f64 {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(binary, directory.path(), &["--log", "error"]);
    let user =
        |tenant: u32, user: u32| if shared { user.to_string() } else { (tenant * USERS + user).to_string() };
    let members = (0..TENANTS * USERS).map(|number| {
        let (tenant, number) = (number / USERS, number % USERS);
        (format!("tenant{tenant}"), user(tenant, number))
    });
    publish_all(&server, 1, members);
    // Bodies are made before the clock runs; the order of members is random and the same for both.
    let mut state = 1_u64;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below)) as u32
    };
    let at = rfc3339(now());
    let bodies: Vec<String> = (0..100)
        .map(|body| {
            let login = |number: usize| {
                let (tenant, number_of_user) = (next(TENANTS), next(USERS));
                let names = (format!("tenant{tenant}"), user(tenant, number_of_user));
                event((2, body * BATCH + number), (&names.0, &names.1), &at) + "\n"
            };
            (0..BATCH).map(login).collect()
        })
        .collect();
    let (mut sent, started) = (0, Instant::now());
    for body in &bodies {
        if started.elapsed() > span {
            break;
        }
        let answer =
            server.client().post("/v1/events", "application/x-ndjson", body.as_bytes()).ok("an append");
        assert_eq!(answer["stored"], BATCH, "{answer}");
        sent += BATCH;
    }
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    server.kill9();
    rate
}
