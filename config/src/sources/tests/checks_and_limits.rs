//! Settings of smoke runs, and limits of declared credentials.

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
