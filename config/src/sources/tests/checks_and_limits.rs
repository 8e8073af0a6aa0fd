//! Settings of smoke runs, limits of declared credentials, and where errors in lists and prompts are.

use super::*;

#[test]
fn a_declared_credential_may_have_limits() {
    let table = |limits: &str| {
        format!(
            "[[credential]]\nworkspace = 'acme'\nprovider = 'openai'\nsource = 'file:/k'\n\
             limits = {limits}\n"
        )
    };
    let Loaded { settings, .. } = load(&table("{ tokens_per_day = 7 }"), &[]).unwrap();
    let limits = settings.declared[0].limits;
    assert_eq!(limits.tokens_per_day.map(u64::from), Some(7));
    assert_eq!(limits.requests_per_day, None);
    for wrong in ["0", "-1", "1.5", "'10'", "1000000000001"] {
        let said = complaint(&table(&format!("{{ requests_per_day = {wrong} }}")), &[]);
        assert!(said.contains("limits.requests_per_day"), "{wrong}: {said}");
    }
    let said = complaint(&table("{ requests_per_hour = 1 }"), &[]);
    assert!(said.contains("requests_per_hour"), "{said}");
}

#[test]
fn smoke_runs_have_a_schedule_that_can_be_turned_off_and_expect_known_providers() {
    let smoke = |text: &str| load(text, &[]).map(|loaded| loaded.settings.smoke);
    let default = smoke("").unwrap();
    let schedule = default.schedule.map(|cron| cron.to_string());
    assert_eq!(schedule.as_deref(), Some("17 3 * * *"));
    assert_eq!(default.environment, EnvironmentPin::Sandbox);
    assert_eq!(smoke("[smoke]\nschedule = 'off'").unwrap().schedule, None);
    let expected = smoke("[smoke]\nexpected = ['openai']").unwrap().expected;
    let openai: crate::ProviderId = "openai".parse().unwrap();
    assert_eq!(expected, [openai]);
    for (text, said) in [
        (
            "schedule = '17 3'",
            "`smoke.schedule`: expected five fields",
        ),
        ("expected = ['opnai']", "did you mean openai?"),
        ("usage_tag = ' '", "`smoke.usage_tag`: expected a usage tag"),
        ("parallel = 0", "from 1 to 64"),
    ] {
        let error = complaint(&format!("[smoke]\n{text}"), &[]);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn the_parts_of_a_prompt_and_the_items_of_a_list_have_their_own_lines() {
    let cases = [
        (
            "[providers.openai.prompt]\npath = 'v1'",
            "k.toml:2: `providers.openai.prompt.path`: expected a path",
        ),
        (
            "[providers.openai.prompt.stream]\nbody = '[]'",
            "k.toml:2: `providers.openai.prompt.stream.body`: expected a JSON object",
        ),
        (
            "[[webhook]]\nformat = 'slack'\nsecret_file = 's'\n[[webhook]]\nurl = 'https://a.example'\n\
             secret_file = 's'\nname = '1'",
            "k.toml:7: `webhook[1].name`: another webhook has this name",
        ),
        (
            "[[webhook]]\nsecret_file = 's'",
            "k.toml:1: `webhook[0].url`: this format needs the URL",
        ),
    ];
    for (text, expected) in cases {
        let complaint = complaint(text, &[]);
        assert!(complaint.starts_with(expected), "{text}: {complaint}");
    }
    let name = "KEYSIDE_PROVIDERS__OPENAI__PROMPT__PATH";
    let complaint = complaint("", &[(name, "v1")]);
    assert!(complaint.starts_with(name), "{complaint}");
}

#[test]
fn all_unknown_keys_and_wrong_values_are_reported_at_once() {
    let text = "[proxi]\n[admin]\nlisten = 'nowhere'\nlisen = 1\n\
                [[credential]]\nnam = 'x'\n[providers.openai]\nbase_url = 1\n";
    let complaint = complaint(text, &[("KEYSIDE_RUNS__KEEP", "none")]);
    let mut lines: Vec<_> = complaint.lines().collect();
    lines.sort_unstable();
    for (line, expected) in lines.iter().zip([
        "KEYSIDE_RUNS__KEEP: `runs.keep`: expected a whole number",
        "k.toml:1: unknown key `proxi`; ",
        "k.toml:3: `admin.listen`: expected IP:PORT",
        "k.toml:4: unknown key `admin.lisen`; ",
        "k.toml:6: unknown key `credential[0].nam`; ",
        "k.toml:8: `providers.openai.base_url`: expected ",
    ]) {
        assert!(line.starts_with(expected), "{complaint}\n  not {expected}");
    }
    assert_eq!(lines.len(), 6, "{complaint}");
}

#[test]
fn at_most_twenty_errors_are_reported_at_once() {
    let keys: Vec<_> = (0..30).map(|number| format!("x{number} = 1")).collect();
    assert_eq!(complaint(&keys.join("\n"), &[]).lines().count(), 20);
}
