//! A process's memory, freed or not, contains no secret that it no longer needs.

use crate::canary::codings;
use crate::harness::{
    Ask, CREDENTIALS, Keyside, PATIENCE, Upstream, eventually, holds, runs_as_root,
};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;

/// A unique text, longer than a block of any hash function: a copy of the last block may stay on a
/// stack.
fn canary(kind: &str) -> String {
    let number = || RandomState::new().build_hasher().finish();
    let numbers: String = (0..8).map(|_| format!("{:016x}", number())).collect();
    format!("{kind}-{numbers}")
}

/// Occurrences of `wanted`, without its first [`FREED`] bytes, in the process's writable memory.
/// None if even root may not read it.
fn found_in_memory(pid: u32, wanted: &[&str]) -> Option<Vec<bool>> {
    let mut found = vec![false; wanted.len()];
    look_into_memory(pid, |bytes| {
        for (found, wanted) in found.iter_mut().zip(wanted) {
            *found |= places(bytes, &wanted[FREED..]).next().is_some();
        }
    })?;
    Some(found)
}

/// Whether a key is anywhere except in heads of requests to its provider, which the HTTP library
/// keeps (docs/SECURITY.md, "What is not defended").
fn found_outside_of_heads(pid: u32, key: &str) -> Option<bool> {
    let mut found = false;
    let (begun, rest) = key.split_at(FREED);
    let begun = format!("authorization: Bearer {begun}");
    look_into_memory(pid, |bytes| {
        let in_a_head = |at: usize| bytes[..at].ends_with(begun.as_bytes());
        found |= places(bytes, rest).any(|at| !in_a_head(at));
    })?;
    Some(found)
}

/// Reads all present, writable memory of the process, piece by piece. Nothing if even root may not
/// read it.
fn look_into_memory(pid: u32, mut look: impl FnMut(&[u8])) -> Option<()> {
    let folder = format!("/proc/{pid}");
    let memory = match File::open(format!("{folder}/mem")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        memory => memory.expect("its memory"),
    };
    let present = File::open(format!("{folder}/pagemap")).expect("its pages");
    let page = page_size(&folder);
    let maps = fs::read_to_string(format!("{folder}/maps")).expect("its maps");
    for region in maps.lines().filter_map(writable) {
        let first = region.0 / page;
        let mut entries = vec![0; ((region.1 - region.0) / page * 8) as usize];
        present
            .read_exact_at(&mut entries, first * 8)
            .expect("an entry a page");
        // Bit 63 of each (proc_pid_pagemap(5)): most of what is reserved was never touched.
        let entries: Vec<_> = entries
            .chunks(8)
            .map(|entry| entry[7] & 0x80 != 0)
            .collect();
        let mut at = 0;
        for run in entries.chunk_by(|one, next| one == next) {
            let start = (first + at) * page;
            at += run.len() as u64;
            let mut bytes = vec![0; run.len() * page as usize];
            // Unmapped meanwhile.
            if run[0] && memory.read_exact_at(&mut bytes, start).is_ok() {
                look(&bytes);
            }
        }
    }
    Some(())
}

/// The bounds of a line of `maps`, if what is there may be written to.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let is_writable = words.next()?.starts_with("rw");
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?)).filter(|_| is_writable)
}

/// The smallest page size: a region of larger pages still has an entry for each small one.
fn page_size(folder: &str) -> u64 {
    let smaps = fs::read_to_string(format!("{folder}/smaps")).expect("its maps");
    let sizes = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("KernelPageSize:"));
    let kilobytes = sizes.filter_map(|size| size.trim().split(' ').next()?.parse::<u64>().ok());
    1024 * kilobytes.min().expect("a size")
}

/// The position of its first byte; a fast search, because there are many bytes.
fn places<'a>(bytes: &'a [u8], wanted: &'a str) -> impl Iterator<Item = usize> + 'a {
    let wanted = wanted.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + bytes[from..].iter().position(|byte| *byte == wanted[0])?;
            from = at + 1;
            if bytes[at..].starts_with(wanted) {
                return Some(at);
            }
        }
    })
}

/// The text itself, and its encodings that a buffer could contain.
fn forms(secret: &str) -> Vec<String> {
    let usual = |name: &String| name == "raw" || name == "hex" || name.starts_with("base64 ");
    let forms = codings(secret.as_bytes()).into_iter();
    let forms = forms.filter(|(name, _)| usual(name));
    let texts = forms.map(|(_, form)| String::from_utf8(form).expect("ASCII"));
    texts.collect()
}

/// Reports if even root may not read it, as in a container without `CAP_SYS_PTRACE`.
fn not_shown() {
    assert!(env::var_os("CI").is_none(), "needs to look into memory");
    eprintln!("not shown here: memory of other processes cannot be read");
}

#[test]
fn a_secret_that_was_sent_with_escapes_leaves_no_copy_in_memory() {
    if !runs_as_root() {
        return;
    }
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let secrets = ["stored", "rotated", "beside", "pasted"].map(canary);
    let [stored, rotated, beside, pasted] = secrets.each_ref().map(|secret| escaped(secret));
    let label = canary("l")[..60].to_owned();
    let new = |label: &str, secret: &str| {
        format!(
            r#"{{"workspaceId":"acme","provider":"openai","label":"{label}","secret":"{secret}"}}"#
        )
    };
    let send = |method: &str, path: &str, body: String| {
        let ask = keyside.admin_ask(method, path, Some(&json!({})));
        let ask = ask.body(body.as_bytes());
        crate::harness::Wire::tcp(keyside.admin_addr()).ask(&ask)
    };
    let made = send("POST", CREDENTIALS, new(&label, &stored));
    assert_eq!(made.status(), 201, "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("{CREDENTIALS}/{id}");
    let rotation = format!(r#"{{"secret":"{rotated}"}}"#);
    assert_eq!(send("PATCH", &path, rotation).status(), 200);
    // Good, beside a field that is not.
    let refused = send("POST", CREDENTIALS, new("", &beside));
    assert_eq!(refused.status(), 422, "{}", refused.text());
    // In a field of another type, and as a field's name.
    let misplaced = format!(r#"{{"default":"{pasted}","{pasted}":"{pasted}"}}"#);
    assert_eq!(send("PATCH", &path, misplaced).status(), 422);
    assert_eq!(send("PATCH", &path, format!("\"{pasted}\"")).status(), 400);
    let mut wanted: Vec<_> = secrets.iter().map(String::as_str).collect();
    wanted.push(&label);
    match found_in_memory(keyside.pid(), &wanted) {
        None => not_shown(),
        // Finding the label proves that memory was searched.
        Some(found) => assert_eq!(found, [false, false, false, false, true]),
    }
}

#[test]
fn a_declared_key_leaves_no_copy_in_memory_but_in_heads_of_requests() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::ok();
    let label = canary("l")[..60].to_owned();
    let [unused, used, broken] = ["unused", "used", "broken"].map(canary);
    let builder = Keyside::sidecar()
        .provider("openai", &upstream.base_url())
        .declare("acme", "openai", &label, "key");
    let file = builder.home().join("key");
    fs::write(&file, &unused).expect("a writable folder");
    let keyside = builder.start();
    fs::write(&file, &used).expect("a writable folder");
    eventually("the second key read", || {
        let times = keyside.logs().matches("secret was read").count();
        (times == 2).then_some(())
    });
    for _ in 0..5 {
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    }
    let sent = upstream.requests().pop().expect("a request");
    assert_eq!(
        sent.header("authorization"),
        Some(&*format!("Bearer {used}"))
    );
    fs::write(&file, format!("{broken} {broken}")).expect("a writable folder");
    eventually("the third refused", || {
        let page = keyside.observed("/readyz").text();
        page.contains("a space inside").then_some(())
    });
    let encoded_alone = forms(&used).split_off(1);
    let wanted = [forms(&unused), forms(&broken), encoded_alone].concat();
    let mut wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    wanted.push(&label);
    let look = || {
        let mut found = found_in_memory(keyside.pid(), &wanted)?;
        // Finding the label proves that memory was searched.
        assert_eq!(found.pop(), Some(true), "the label is not in memory");
        let found = found.iter().zip(&wanted).filter(|(found, _)| **found);
        let mut found: Vec<_> = found.map(|(_, wanted)| *wanted).collect();
        found.extend(found_outside_of_heads(keyside.pid(), &used)?.then_some("the used key"));
        Some(found)
    };
    // Keyside may be reading the file during the search; the same finding twice is a leak.
    match look().map(|found| {
        if found.is_empty() {
            Some(found)
        } else {
            look()
        }
    }) {
        None => not_shown(),
        Some(found) => assert_eq!(found.unwrap_or_default(), Vec::<&str>::new()),
    }
}

#[test]
fn a_command_that_has_sent_a_secret_keeps_no_copy() {
    if !runs_as_root() {
        return;
    }
    let (secret, label) = (canary("sk"), canary("l")[..60].to_owned());
    let rotation = ["key", "rotate", "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa"];
    let adding = ["key", "add", "-w", "acme", "-p", "openai", "-l", &label];
    for command in [&rotation[..], &adding] {
        for input in [Input::Stdin, Input::File] {
            let (process, _server) = waiting(command, input, &secret);
            let pid = process.pid();
            let mut is_shown = true;
            eventually("the secret gone", || {
                let found = found_in_memory(pid, &[&secret, command[command.len() - 1]]);
                is_shown = found.is_some();
                // Finding its argument proves that memory was searched.
                found
                    .is_none_or(|found| found == [false, true])
                    .then_some(())
            });
            if !is_shown {
                return not_shown();
            }
        }
    }
}

#[test]
fn a_command_that_holds_a_secret_leaves_no_core_dump() {
    let secret = canary("sk");
    let adding = ["key", "add", "-w", "acme", "-p", "openai"];
    let (process, _server) = waiting(&adding, Input::Stdin, &secret);
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid()));
    let limits = limits.expect("its limits");
    let mut limits = limits.lines();
    let core = limits.find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[..2], ["0", "0"], "a core dump is allowed");
}

/// Where a command gets its secret from.
#[derive(Clone, Copy)]
enum Input {
    Stdin,
    File,
}

/// A command that has sent its secret and waits for a response that does not come.
fn waiting(command: &[&str], input: Input, secret: &str) -> (crate::harness::Process, TcpStream) {
    // The test allows core dumps; the command itself must turn them off.
    let script = r#"ulimit -c "$(ulimit -H -c)"; exec "$0" "$@""#;
    let builder = Keyside::builder().launched_by(&["/bin/sh", "-c", script]);
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", server.local_addr().expect("an address"));
    for (name, text) in [("token", "ks_token"), ("secret", secret)] {
        fs::write(builder.home().join(name), text).expect("a writable folder");
    }
    let (from, stdin) = match input {
        Input::Stdin => (&["--stdin"][..], secret.as_bytes()),
        Input::File => (&["--secret-file", "secret"][..], &b""[..]),
    };
    let server_at = ["--admin-url", &url, "--token-file", "token"];
    let words = [command, from, &server_at].concat();
    let process = builder.spawn(&words, Some(stdin));
    server.set_nonblocking(true).expect("a socket");
    let (mut client, _) = eventually("the request", || server.accept().ok());
    client.set_nonblocking(false).expect("a socket");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    while !is_whole(&seen) {
        let got = client.read(&mut block).expect("the request");
        assert!(got > 0, "it ended: {}", process.stderr());
        seen.extend_from_slice(&block[..got]);
    }
    assert!(holds(&seen, secret), "the secret was not sent");
    (process, client)
}

/// Whether all of a JSON body has come.
fn is_whole(request: &[u8]) -> bool {
    let mut at = request.windows(4).enumerate();
    let head = at.find(|(_, end)| end == b"\r\n\r\n");
    head.is_some_and(|(at, _)| serde_json::from_slice::<Value>(&request[at + 4..]).is_ok())
}

/// The most bytes of a freed block that the allocator overwrites with its lists.
const FREED: usize = 16;

fn escaped(secret: &str) -> String {
    let escapes = secret.bytes().map(|byte| format!("\\u{byte:04x}"));
    escapes.collect()
}
