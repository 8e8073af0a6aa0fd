//! The command line's own rules: what it takes, what it refuses to take, and what it never repeats.

use clap::Parser;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    arguments::assert_consistent();
}
