//! Races: requests against the revocation of their key, and changes against each other.

use crate::harness::{Ask, Builder, CREDENTIALS, KEY, Keyside, Upstream, Wire, expect, reply};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// In parallel, each with its own workspace, so that changes do not wait for each other.
const RACERS: usize = 16;

/// The default; the variable sets another number.
const RACES: usize = 320;
const RACES_IN_A_WORKSPACE: usize = 25;
const RACES_VARIABLE: &str = "KEYSIDE_E2E_RACES";

#[test]
fn no_request_that_begins_after_a_revocation_succeeds_however_they_race() {
    let used = Arc::new(LastUses::default());
    let noting = Arc::clone(&used);
    let upstream = Upstream::answering(move |seen| {
        noting.note(seen.header("x-race").unwrap_or_default());
        reply(200, "", b"{}")
    });
    let keyside = unhurried().provider("openai", &upstream.base_url()).start();
    let races = env::var(RACES_VARIABLE).map_or(RACES, |races| races.parse().expect("a number"));
    let acknowledged: HashMap<String, Instant> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|number| {
                let mut racer = Racer::new(&keyside, number);
                let share = (number..races).step_by(RACERS);
                scope.spawn(move || {
                    let raced = share.enumerate().map(|(done, race)| {
                        if done % RACES_IN_A_WORKSPACE == 0 {
                            racer.move_on();
                        }
                        racer.race(race)
                    });
                    raced.collect::<Vec<(String, Instant)>>()
                })
            })
            .collect();
        let finished = racers.into_iter();
        finished
            .flat_map(|racer| racer.join().expect("a racer that finished"))
            .collect()
    });
    assert_eq!(acknowledged.len(), races);
    let late = upstream.requests();
    let late = late.iter().filter(|seen| seen.header("x-late").is_some());
    assert_eq!(late.count(), 0, "a late request went upstream");
    used.report(&acknowledged);
}

/// Repeatedly revokes a key while requests use it.
struct Racer<'a> {
    keyside: &'a Keyside,
    number: usize,
    workspaces: usize,
    workspace: String,
    racing: Wire,
    late: Wire,
}

impl<'a> Racer<'a> {
    fn new(keyside: &'a Keyside, number: usize) -> Self {
        Self {
            keyside,
            number,
            workspaces: 0,
            workspace: String::new(),
            racing: keyside.wire(),
            late: keyside.wire(),
        }
    }

    /// Moves to a new workspace: changes cost more with more keys, and revoked ones stay.
    fn move_on(&mut self) {
        self.workspaces += 1;
        self.workspace = format!("racer-{}-{}", self.number, self.workspaces);
        self.keyside.workspace(&self.workspace);
    }

    /// Not kept: the admin listener closes a connection that is idle for ten seconds, and on a busy
    /// machine a race takes longer.
    fn admin(&self) -> Wire {
        Wire::tcp(self.keyside.admin_addr())
    }

    /// One key's race, by its name, and when its revocation was acknowledged.
    fn race(&mut self, race: usize) -> (String, Instant) {
        let name = format!("race-{race}");
        let body = json!({
            "workspaceId": self.workspace, "provider": "openai", "label": name,
            // Unique: a response to an owner lists all keys with the same secret.
            "secret": format!("{KEY}{race}"),
        });
        let added = self.keyside.admin_ask("POST", CREDENTIALS, Some(&body));
        let added = self.admin().ask(&added);
        assert_eq!(added.status(), 201, "{}", added.text());
        let id = added.json()["id"].as_str().expect("an id").to_owned();
        let revocation = format!("{CREDENTIALS}/{id}");
        let revocation = self.keyside.admin_ask("DELETE", &revocation, None);
        let mut admin = self.admin();
        let ask = Ask::chat()
            .workspace(&self.workspace)
            .header("X-Keyside-Label", &name)
            .header("X-Race", &name);

        let revoked = AtomicBool::new(false);
        let acknowledged = thread::scope(|scope| {
            // Uses the key as fast as possible until it is refused.
            scope.spawn(|| {
                loop {
                    // Read before the request is sent: what is sent later must be refused.
                    let late = revoked.load(Ordering::SeqCst);
                    let answer = self.racing.ask(&match late {
                        true => ask.clone().header("X-Late", "true"),
                        false => ask.clone(),
                    });
                    if late || answer.status() != 200 {
                        return expect::refused(&name, &answer, 401, "credential_revoked");
                    }
                }
            });
            let answer = admin.ask(&revocation);
            let acknowledged = Instant::now();
            revoked.store(true, Ordering::SeqCst);
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let late = self.late.ask(&ask.clone().header("X-Late", "true"));
            expect::refused(&name, &late, 401, "credential_revoked");
            acknowledged
        });
        (name, acknowledged)
    }
}

/// When each race's key was last seen by the provider.
#[derive(Default)]
struct LastUses(Mutex<HashMap<String, Instant>>);

impl LastUses {
    fn note(&self, race: &str) {
        let mut uses = self.0.lock().expect("no panic");
        uses.insert(race.to_owned(), Instant::now());
    }

    /// Prints how long keys were used after their revocation was acknowledged. Not asserted,
    /// because a request that had begun earlier may be slow.
    fn report(&self, acknowledged: &HashMap<String, Instant>) {
        let uses = self.0.lock().expect("no panic");
        let after = |(race, at): (&String, &Instant)| {
            let used = uses.get(race)?;
            Some(used.saturating_duration_since(*at))
        };
        let mut after: Vec<Duration> = acknowledged.iter().filter_map(after).collect();
        after.sort_unstable();
        let share = |share: usize| after.get(after.len() * share / 100);
        eprintln!(
            "{} races; {} keys were used in theirs; from the acknowledged revocation to the last use: \
             p50 {:?}, p99 {:?}, at most {:?}; {} of them after it",
            acknowledged.len(),
            after.len(),
            share(50),
            share(99),
            after.last(),
            after.iter().filter(|after| !after.is_zero()).count(),
        );
    }
}

#[test]
fn of_changes_that_saw_the_same_state_exactly_one_is_made() {
    const CHANGES: usize = 8;
    const ROUNDS: usize = 40;
    let keyside = unhurried().start().with_key();
    let path = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("{CREDENTIALS}/{path}");
    let mut wires: Vec<_> = (0..CHANGES)
        .map(|_| Wire::tcp(keyside.admin_addr()))
        .collect();
    for round in 0..ROUNDS {
        let seen = keyside.admin("GET", &path, None);
        let tag = seen.header("etag").expect("a tag").to_owned();
        let changes: Vec<_> = (0..CHANGES).map(|number| change(round, number)).collect();
        for (wire, change) in wires.iter_mut().zip(&changes) {
            let ask = keyside.admin_ask("PATCH", &path, Some(change));
            wire.send(ask.set("If-Match", &tag).bytes());
        }
        let answers: Vec<_> = wires
            .iter_mut()
            .map(|wire| wire.answer_to("PATCH").expect("an answer"))
            .collect();
        let made: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status() == 200)
            .collect();
        assert_eq!(made.len(), 1, "in round {round}: {answers:#?}");
        for answer in answers.iter().filter(|answer| answer.status() != 200) {
            assert_eq!(answer.status(), 412, "{}", answer.text());
        }
        let stored = keyside.admin("GET", &path, None);
        assert_eq!(stored.header("etag"), made[0].header("etag"));
        let (stored, made) = (stored.json(), made[0].json());
        for field in ["label", "versions", "hint"] {
            assert_eq!(stored[field], made[field], "in round {round}");
        }
    }
    let page = keyside.admin("GET", "/api/audit?limit=1000", None).json();
    let records = page["items"].as_array().expect("a list").iter();
    let changes = records.filter(|record| {
        let event = record["event"].as_str().unwrap_or_default();
        event == "credential_edited" || event == "credential_rotated"
    });
    assert_eq!(changes.count(), ROUNDS, "and as many are recorded");
}

/// An edit or a rotation, no two alike.
fn change(round: usize, number: usize) -> Value {
    match number % 2 {
        0 => json!({ "label": format!("label-{round}-{number}") }),
        _ => json!({ "secret": format!("{KEY}{round}x{number}"), "graceSeconds": 0 }),
    }
}

/// A builder without the limit on admin requests. On a busy machine a racer sends its first request
/// long after it has connected.
fn unhurried() -> Builder {
    Keyside::builder()
        .set("admin.requests_per_second", "1000000")
        .set("proxy.deadlines.header", r#""600s""#)
}
