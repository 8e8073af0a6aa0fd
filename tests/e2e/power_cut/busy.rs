//! Power cuts at random moments of a busy admin API: acknowledged changes survive, and every start
//! succeeds.
//!
//! `KEYSIDE_POWER_CUTS` sets the number of cuts, and `KEYSIDE_POWER_CUTS_SEED` the seed; a failure
//! prints the seed.

use crate::harness::{Ask, Builder, CREDENTIALS, Keyside, LoopDisk, Wire};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

const CUTS: usize = 50;
const CUTS_VARIABLE: &str = "KEYSIDE_POWER_CUTS";
const SEED_VARIABLE: &str = "KEYSIDE_POWER_CUTS_SEED";

/// Clients that change keys, each in its own workspace.
const EDITORS: usize = 4;
/// Ids of the workspaces that another client creates and erases.
const SITES: usize = 6;
/// Acknowledgements after which the power is cut at the latest.
const MOST_ACKNOWLEDGEMENTS: usize = 40;
/// Microseconds between the last of them and the cut, unless another one comes first.
const MOST_MICROSECONDS: usize = 8_000;
/// Starts after which the editors move to new workspaces, so that neither the lists nor the disk
/// fill up.
const STARTS_TO_A_MOVE: usize = 8;
/// Starts after which the whole audit log is checked.
const STARTS_TO_A_CHECK: usize = 10;
/// Number of versions after which a key is not rotated again: 50 are kept.
const MOST_VERSIONS: usize = 20;

#[test]
fn no_power_cut_at_any_moment_of_a_busy_api_loses_what_was_acknowledged() {
    let mut builder = Keyside::builder().provider("openai", "http://127.0.0.1:9");
    let Some(mut disk) = LoopDisk::under(&builder) else {
        return;
    };
    let cuts = env::var(CUTS_VARIABLE).map_or(CUTS, |cuts| cuts.parse().expect("a number"));
    let seed = Seed::new();
    let mut dice = Dice::of(seed.0);
    let mut clients = Clients::new();
    for cut in 0..cuts {
        let keyside = builder.start();
        clients.check(&keyside);
        if cut % STARTS_TO_A_MOVE == 0 {
            clients.move_on(&keyside);
        }
        if cut % STARTS_TO_A_CHECK == 0 {
            check_audit_log(&keyside);
        }
        builder = clients.cut_while_busy(keyside, &mut disk, &mut dice);
        disk.restore_power();
    }
    let keyside = builder.start();
    clients.check(&keyside);
    check_audit_log(&keyside);
}

fn check_audit_log(keyside: &Keyside) {
    let verified = keyside.admin("GET", "/api/audit/verify", None).json();
    assert_eq!(verified["intact"], true, "{verified}");
}

struct Clients {
    editors: Vec<Editor>,
    maker: Maker,
}

impl Clients {
    fn new() -> Self {
        Self {
            editors: (0..EDITORS).map(Editor::new).collect(),
            maker: Maker::default(),
        }
    }

    /// Checks that exactly the acknowledged changes exist, and possibly pending ones.
    fn check(&mut self, keyside: &Keyside) {
        let workspaces = keyside.pages("/api/workspaces");
        let credentials = keyside.everything();
        let mut all = workspaces.iter().chain(&credentials);
        assert!(all.all(|view| view["damaged"] == false), "damage");
        self.maker.check(&workspaces);
        for editor in &mut self.editors {
            editor.check(&credentials);
        }
    }

    fn move_on(&mut self, keyside: &Keyside) {
        for editor in &mut self.editors {
            editor.move_on(keyside);
        }
    }

    /// Lets all clients make changes, cuts the power at a random moment, and kills the process.
    fn cut_while_busy(
        &mut self,
        keyside: Keyside,
        disk: &mut LoopDisk,
        dice: &mut Dice,
    ) -> Builder {
        // Read the token before the cut: it is on that disk.
        let template = keyside.admin_ask("GET", "/", Some(&json!({})));
        let (heard, acknowledgements) = mpsc::channel();
        let desk = || Desk::at(keyside.admin_addr(), &template, &heard);
        let after = 1 + dice.below(MOST_ACKNOWLEDGEMENTS);
        let moment = Duration::from_micros(dice.below(MOST_MICROSECONDS) as u64);
        let desks: Vec<_> = self.editors.iter().map(|_| desk()).collect();
        let makers_desk = desk();
        thread::scope(|scope| {
            for (editor, desk) in self.editors.iter_mut().zip(desks) {
                let dice = dice.another();
                scope.spawn(move || editor.work(desk, dice));
            }
            let (maker, makers_dice) = (&mut self.maker, dice.another());
            scope.spawn(move || maker.work(makers_desk, makers_dice));
            drop(heard);
            let told = acknowledgements.iter().take(after).count();
            // Not only right after an acknowledgement.
            let _ = acknowledgements.recv_timeout(moment);
            disk.cut_power();
            let builder = keyside.kill9();
            assert_eq!(told, after, "changes ended before the power was cut");
            builder
        })
    }
}

/// Where one client sends its changes.
struct Desk {
    wire: Wire,
    template: Ask,
    heard: Sender<()>,
}

impl Desk {
    fn at(address: SocketAddr, template: &Ask, heard: &Sender<()>) -> Self {
        Self {
            wire: Wire::tcp(address),
            template: template.clone(),
            heard: heard.clone(),
        }
    }

    /// The result of a change, if it was acknowledged.
    fn change(&mut self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let template = self.template.clone();
        let mut ask = match body {
            Some(body) => template.body(body.to_string().as_bytes()),
            None => template.bare(),
        };
        (ask.method, ask.target) = (method.to_owned(), path.to_owned());
        self.wire.send(ask.bytes());
        let answer = self.wire.answer().filter(|answer| answer.is_whole())?;
        match answer.status() {
            200 | 201 => {
                // Nobody counts them once the power is cut.
                let _ = self.heard.send(());
                Some(answer.json())
            }
            503 => None,
            other => panic!("{method} {path}: {other} {}", answer.text()),
        }
    }
}

/// Adds, rotates and revokes keys of one workspace, one change after another.
struct Editor {
    number: usize,
    workspaces: usize,
    secrets: usize,
    /// What was acknowledged, by id.
    keys: BTreeMap<String, Value>,
    pending: Option<Pending>,
}

/// The change that was requested but not acknowledged.
enum Pending {
    /// A key with this label.
    Add(String),
    /// A change of the key with this id.
    Change(String),
}

impl Editor {
    fn new(number: usize) -> Self {
        Self {
            number,
            workspaces: 0,
            secrets: 0,
            keys: BTreeMap::new(),
            pending: None,
        }
    }

    /// Alternates between two ids, so that remains of erased workspaces do not accumulate.
    fn workspace(&self) -> String {
        format!("editor-{}-{}", self.number, self.workspaces % 2)
    }

    fn move_on(&mut self, keyside: &Keyside) {
        if self.workspaces > 0 {
            let path = format!("/api/workspaces/{}", self.workspace());
            let erased = keyside.admin("DELETE", &path, None);
            assert_eq!(erased.status(), 200, "{}", erased.text());
        }
        self.workspaces += 1;
        self.keys.clear();
        keyside.workspace(&self.workspace());
    }

    fn work(&mut self, mut desk: Desk, mut dice: Dice) {
        while self.change(&mut desk, &mut dice).is_some() {}
    }

    fn change(&mut self, desk: &mut Desk, dice: &mut Dice) -> Option<()> {
        let of = |id: &String| format!("{CREDENTIALS}/{id}");
        let view = match (self.some_key(dice), dice.below(10)) {
            (Some(id), 0..3) => {
                let (path, body) = (of(&id), json!({ "secret": self.new_secret() }));
                self.pending = Some(Pending::Change(id));
                desk.change("PATCH", &path, Some(&body))?
            }
            (Some(id), 3..5) => {
                let path = of(&id);
                self.pending = Some(Pending::Change(id));
                desk.change("DELETE", &path, None)?
            }
            (Some(_), 5) => {
                let path = format!("/api/workspaces/{}/rotate-key", self.workspace());
                desk.change("POST", &path, Some(&json!({})))?;
                return Some(());
            }
            _ => {
                let secret = self.new_secret();
                let label = format!("key-{}", self.secrets);
                let body = json!({
                    "workspaceId": self.workspace(), "provider": "openai", "label": label, "secret": secret,
                });
                self.pending = Some(Pending::Add(label));
                desk.change("POST", CREDENTIALS, Some(&body))?
            }
        };
        self.pending = None;
        self.keys.insert(text(&view, "id"), shown(&view));
        Some(())
    }

    /// One that can be changed, if there is any.
    fn some_key(&self, dice: &mut Dice) -> Option<String> {
        let can_change = |shown: &Value| {
            let versions = shown["versions"].as_array().map_or(0, Vec::len);
            shown["status"] == "active" && versions < MOST_VERSIONS
        };
        let keys = self.keys.iter().filter(|(_, shown)| can_change(shown));
        let keys: Vec<_> = keys.map(|(id, _)| id).collect();
        (!keys.is_empty()).then(|| keys[dice.below(keys.len())].clone())
    }

    fn new_secret(&mut self) -> String {
        self.secrets += 1;
        let (number, secrets) = (self.number, self.secrets);
        format!("sk-proj-powercut0123456789abcdefghijklmnopqrstuvwxyz-{number}-{secrets}")
    }

    /// Afterwards the outcome of the pending change is known.
    fn check(&mut self, listed: &[Value]) {
        let workspace = self.workspace();
        let listed = listed.iter();
        let ours = listed.filter(|view| view["workspaceId"] == *workspace);
        let there: BTreeMap<_, _> = ours.map(|view| (text(view, "id"), shown(view))).collect();
        for (id, acknowledged) in &self.keys {
            let is_pending =
                matches!(&self.pending, Some(Pending::Change(pending)) if pending == id);
            match there.get(id) {
                None => panic!("{workspace}: {acknowledged} was acknowledged and is gone"),
                Some(_) if is_pending => {}
                Some(found) => assert_eq!(found, acknowledged, "{workspace}: {id}"),
            }
        }
        for (id, found) in &there {
            let is_pending =
                matches!(&self.pending, Some(Pending::Add(label)) if found["label"] == **label);
            let is_known = self.keys.contains_key(id) || is_pending;
            assert!(is_known, "{workspace}: nobody has added {found}");
        }
        self.keys = there;
        self.pending = None;
    }
}

/// Creates and erases workspaces, one after another, and reuses their ids.
#[derive(Default)]
struct Maker {
    /// What was acknowledged.
    made: BTreeSet<String>,
    pending: Option<String>,
}

impl Maker {
    fn work(&mut self, mut desk: Desk, mut dice: Dice) {
        while self.change(&mut desk, &mut dice).is_some() {}
    }

    fn change(&mut self, desk: &mut Desk, dice: &mut Dice) -> Option<()> {
        let site = format!("site-{}", dice.below(SITES));
        self.pending = Some(site.clone());
        if self.made.contains(&site) {
            desk.change("DELETE", &format!("/api/workspaces/{site}"), None)?;
            self.made.remove(&site);
        } else {
            let body = json!({ "id": site, "name": site });
            desk.change("POST", "/api/workspaces", Some(&body))?;
            self.made.insert(site);
        }
        self.pending = None;
        Some(())
    }

    /// Afterwards the outcome of the pending change is known.
    fn check(&mut self, listed: &[Value]) {
        let ids = listed.iter().map(|view| text(view, "id"));
        let there: BTreeSet<_> = ids.filter(|id| id.starts_with("site-")).collect();
        for site in there.symmetric_difference(&self.made) {
            let is_there = there.contains(site);
            let is_pending = self.pending.as_ref() == Some(site);
            assert!(
                is_pending,
                "{site}: an acknowledged change is lost; listed: {is_there}"
            );
        }
        self.made = there;
        self.pending = None;
    }
}

/// The fields of a key that a change affects.
fn shown(view: &Value) -> Value {
    let fields = [
        "label",
        "status",
        "fingerprint",
        "lastRotatedAt",
        "versions",
    ];
    fields
        .map(|field| (field.to_owned(), view[field].clone()))
        .into_iter()
        .collect()
}

fn text(view: &Value, field: &str) -> String {
    view[field].as_str().expect("a text").to_owned()
}

/// Printed when the test fails.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        let drawn = || RandomState::new().build_hasher().finish();
        let seed = env::var(SEED_VARIABLE);
        Self(seed.map_or_else(|_| drawn(), |seed| seed.parse().expect("a number")))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{SEED_VARIABLE}={}", self.0);
        }
    }
}

/// Pseudo-random numbers: xorshift, by George Marsaglia.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        // It never leaves 0.
        Self(seed | 1)
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    fn another(&mut self) -> Self {
        Self::of(self.draw())
    }
}
