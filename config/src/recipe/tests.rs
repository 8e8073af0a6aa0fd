//! Checks every recipe against the rules that all recipes share.

use std::{cell::RefCell, collections::BTreeSet, fs};

use super::{fill::replace, *};
use crate::{Catalogue, DUMMY_KEY};

/// All texts that may contain placeholders.
fn texts(recipe: &Recipe) -> Vec<&String> {
    let variables = recipe.variables.iter().map(|variable| &variable.value);
    let files = recipe.files.iter().map(|file| &file.text);
    let examples = recipe.examples.iter().map(|example| &example.text);
    let all = recipe.notes.iter().chain(&recipe.install);
    all.chain(variables).chain(files).chain(examples).collect()
}

/// All words in braces.
fn words(text: &str) -> BTreeSet<String> {
    let words = RefCell::new(BTreeSet::new());
    replace(text, |word| {
        words.borrow_mut().insert(word.to_owned());
        None
    });
    words.into_inner()
}

fn target() -> RecipeTarget<'static> {
    RecipeTarget {
        address: "http://127.0.0.1:7380",
        workspace: "acme",
    }
}

/// A recipe for OpenAI with this note.
fn recipe_with_note(note: &str) -> Recipe {
    let mut recipe = Recipe::read("test", "name = ''\ndocs = ''\nproviders = ['openai']");
    recipe.notes = vec![note.to_owned()];
    recipe
}

fn filled(note: &str) -> String {
    recipe_with_note(note).filled(target()).notes.remove(0)
}

#[test]
fn the_folder_holds_what_is_listed_in_order() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let listed = BUILTIN.iter().map(|(id, _)| format!("{id}.toml"));
    assert_eq!(files.collect::<BTreeSet<_>>(), listed.collect());
    assert!(BUILTIN.is_sorted());
    for recipe in Recipe::all() {
        assert_eq!(Recipe::named(&recipe.id).unwrap(), recipe);
        assert_eq!(Recipe::named(&recipe.id.to_uppercase()).unwrap(), recipe);
    }
}

#[test]
fn placeholders_name_only_providers_that_the_recipe_is_for() {
    let catalogue = Catalogue::builtin();
    for recipe in Recipe::all() {
        let id = &recipe.id;
        for provider in &recipe.providers {
            let known = catalogue.get(provider.as_str()).is_some();
            assert!(known, "{id}: no provider {provider}");
        }
        for word in texts(&recipe).into_iter().flat_map(|text| words(text)) {
            let of_another = catalogue.get(&word).is_some()
                && !recipe.providers.iter().any(|id| id.as_str() == word);
            assert!(!of_another, "{id}: {{{word}}} is not among its providers");
        }
    }
}

#[test]
fn a_filled_recipe_has_no_placeholder_left() {
    for recipe in Recipe::all() {
        let filled = recipe.filled(target());
        let named = recipe.providers.iter().map(ProviderId::as_str);
        let known: Vec<_> = named.chain(["address", "workspace", "dummy"]).collect();
        for text in texts(&filled) {
            let left = words(text);
            let left = left.iter().find(|word| known.contains(&word.as_str()));
            assert_eq!(left, None, "{}: {text}", recipe.id);
        }
    }
}

#[test]
fn every_recipe_has_its_texts_for_people() {
    for recipe in Recipe::all() {
        let id = &recipe.id;
        assert!(recipe.docs.starts_with("https://"), "{id}");
        assert!(!recipe.providers.is_empty(), "{id}");
        let something = recipe.variables.len() + recipe.files.len() + recipe.examples.len();
        assert!(something > 0, "{id}");
        for note in &recipe.notes {
            assert!(note.ends_with('.') && !note.contains('\n'), "{id}: {note}");
        }
        let set: Vec<_> = recipe.variables.iter().map(|one| &one.name).collect();
        for name in set.iter().copied().chain(&recipe.unset) {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
            assert!(!starts_with_digit && name.bytes().all(fits), "{id}: {name}");
            assert!(!name.is_empty(), "{id}");
            assert!(
                !name.eq_ignore_ascii_case("no_proxy"),
                "{id}: `no_proxy = true` sets it"
            );
        }
        let both = recipe.unset.iter().find(|name| set.contains(name));
        assert_eq!(both, None, "{id}: set and unset");
        let empty = recipe.variables.iter().find(|one| one.value.is_empty());
        assert_eq!(empty, None, "{id}: `unset` removes a variable");
    }
}

#[test]
fn the_four_placeholders_are_replaced() {
    let openai = "http://127.0.0.1:7380/w/acme/openai";
    assert_eq!(filled("{openai}/v1"), format!("{openai}/v1"));
    assert_eq!(
        filled("{address}, {workspace}, {dummy}"),
        format!("http://127.0.0.1:7380, acme, {DUMMY_KEY}")
    );
    assert_eq!(
        filled(r#"{"base_url":"{openai}"}"#),
        format!(r#"{{"base_url":"{openai}"}}"#)
    );
}

#[test]
fn other_braces_stay() {
    for text in [
        r#"{"a": {"b": []}}"#,
        "${{ secrets.KEY }} ${NO_PROXY:+,$NO_PROXY}",
        "{unknown} {anthropic} {OpenAI} {}",
        "{openai",
        "}{",
        "{{",
    ] {
        assert_eq!(filled(text), text);
    }
}

#[test]
fn placeholders_in_values_are_not_replaced() {
    let target = RecipeTarget {
        address: "http://127.0.0.1:7380",
        workspace: "{dummy}",
    };
    assert_eq!(
        recipe_with_note("{workspace}").filled(target).notes,
        ["{dummy}"]
    );
}

#[test]
fn an_unknown_client_gets_a_suggestion_and_is_not_repeated() {
    for (id, expected) in [
        ("opnai", "there is no such client; did you mean openai?"),
        ("sk-canary", "there is no such client"),
    ] {
        let error = Recipe::named(id).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
