//! End-to-end tests: the real binary, raw sockets, one module per subject.

#![allow(
    unreachable_pub,
    reason = "`pub` marks the harness's surface; a test exports nothing"
)]

mod harness;

mod addresses;
mod admin_page;
mod administration;
mod backup;
mod base_urls;
mod body_framing;
mod broken_answers;
mod broken_uploads;
mod browsers;
mod bytes_exact;
mod canary;
mod choosing;
mod cli;
mod client_credentials;
mod connections;
mod control_characters;
mod damage;
mod declared;
mod demo;
mod destination;
mod disk_full;
mod doctor;
mod drain;
mod drain_command;
mod durability;
mod early_answers;
mod echo;
mod egress;
mod erasing;
mod failed_fsync;
mod groups;
mod guide;
mod half_close;
mod head_limits;
mod hop_by_hop;
mod hostile_upstreams;
mod http2;
mod http2_abuse;
mod http2_memory;
mod isolation;
mod key_names;
mod large_refusals;
mod leaks;
mod limits;
mod listener_tls;
mod listeners;
mod malformed;
mod master_key;
mod memory;
mod metering;
mod names;
mod nouns;
mod outcomes;
mod paths;
mod power_cut;
mod preview;
mod races;
mod recipes;
mod refusals;
mod refused_runs;
mod resending;
mod reserve;
mod retry_advice;
mod revocation;
mod rotation;
mod slowness;
mod smoke;
mod smuggling;
mod spend_limits;
mod startup;
mod streaming;
mod terminal;
mod tls;
mod traffic_health;
mod unwritable;
mod upstream_limits;
mod verification;
mod webhooks;
mod websocket;
