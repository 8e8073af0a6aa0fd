//! `keyside check`: checks that this release can run the settings, and shows the origin of each and
//! how providers are reached. Uses no network and writes nothing.

use keyside_config::{EffectiveSetting, Loaded, Settings, Sources};
use keyside_proxy::EffectiveEgress;
use serde_json::json;

use super::{Failure, Output, table::Table};
use crate::{
    validated_settings::{Process, ValidatedSettings},
    warnings,
};

pub(crate) fn run(sources: &Sources, output: &Output) -> Result<(), Failure> {
    let Loaded {
        settings,
        effective,
    } = Settings::load(sources)?;
    let ValidatedSettings {
        settings, egress, ..
    } = {
        let process = Process::for_store(&settings.store);
        ValidatedSettings::new(settings, process)?
    };
    let warnings = warnings::of(&settings);
    let routes = egress.effective(&settings.catalogue);
    for warning in &warnings {
        output.note(&format!("warning: {warning}"));
    }
    let lines: Vec<_> = effective
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() }))
        .collect();
    output.print(
        &json!({ "settings": lines, "egress": routes, "warnings": warnings }),
        |output| {
            format!(
                "{}\n{}",
                table(&effective, output),
                egress_table(routes, output)
            )
        },
    )
}

fn table(effective: &[EffectiveSetting], output: &Output) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
    for setting in effective {
        table.row([
            setting.key.clone(),
            setting.value.clone(),
            setting.origin.to_string(),
        ]);
    }
    output.table(&table)
}

/// The default route, and the providers that have another.
fn egress_table(routes: Vec<EffectiveEgress>, output: &Output) -> String {
    let mut table = Table::new(["PROVIDER", "EGRESS", "BECAUSE"]);
    for route in routes {
        let provider = match route.provider {
            Some(id) => id.to_string(),
            None => "(all others)".to_owned(),
        };
        table.row([provider, route.via, route.because]);
    }
    output.table(&table)
}
