//! `keyside check`: whether this release can run the settings, where each came from, and how providers are
//! reached. No network, and nothing is written.

use keyside_config::{EffectiveSetting, Loaded, Settings, Sources};
use keyside_proxy::EffectiveEgress;
use serde_json::json;

use super::{Answer, Failure, table::Table};
use crate::{
    runnable::{Process, Runnable},
    warnings,
};

pub(crate) fn run(sources: &Sources, answer: &Answer) -> Result<(), Failure> {
    let Loaded {
        settings,
        effective,
    } = Settings::load(sources)?;
    let Runnable {
        settings, egress, ..
    } = {
        let process = Process::for_store(&settings.store);
        Runnable::of(settings, process)?
    };
    let warnings = warnings::of(&settings);
    let routes = egress.effective(&settings.catalogue);
    for warning in &warnings {
        answer.remark(&format!("warning: {warning}"));
    }
    let lines: Vec<_> = effective
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() }))
        .collect();
    answer.give(
        &json!({ "settings": lines, "egress": routes, "warnings": warnings }),
        |answer| {
            format!(
                "{}\n{}",
                table(&effective, answer),
                egress_table(routes, answer)
            )
        },
    )
}

fn table(effective: &[EffectiveSetting], answer: &Answer) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
    for setting in effective {
        table.row([
            setting.key.clone(),
            setting.value.clone(),
            setting.origin.to_string(),
        ]);
    }
    answer.table(&table)
}

/// The usual route, and the providers that take another.
fn egress_table(routes: Vec<EffectiveEgress>, answer: &Answer) -> String {
    let mut table = Table::new(["PROVIDER", "EGRESS", "BECAUSE"]);
    for route in routes {
        let provider = route.provider.unwrap_or_else(|| "(all others)".to_owned());
        table.row([provider, route.via, route.because]);
    }
    answer.table(&table)
}
