//! `keyside check`: whether this release can run the settings, and where each came from. No network, and nothing is written.

use keyside_config::{EffectiveSetting, Loaded, Settings, Sources};
use serde_json::json;

use super::{Answer, Failure, table::Table};
use crate::{runnable::Runnable, warnings};

pub(crate) fn run(sources: &Sources, answer: &Answer) -> Result<(), Failure> {
    let Loaded {
        settings,
        effective,
    } = Settings::load(sources)?;
    let warnings = warnings::of(&Runnable::of(settings)?.settings);
    for warning in &warnings {
        answer.remark(&format!("warning: {warning}"));
    }
    let lines: Vec<_> = effective
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() }))
        .collect();
    answer.give(
        &json!({ "settings": lines, "warnings": warnings }),
        |answer| table(&effective, answer),
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
