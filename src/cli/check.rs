//! `keyside check`: checks that this release can run the settings, and shows the origin of each and
//! how providers are reached. Uses no network and writes nothing.

use keyside_config::{EffectiveSetting, Loaded, Settings};
use keyside_proxy::EffectiveEgress;
use serde_json::json;

use super::{Console, Failure, table::Table};
use crate::{
    validated_settings::{Process, ValidatedSettings},
    warnings,
};

pub(crate) fn run(console: &Console) -> Result<(), Failure> {
    let Loaded {
        settings,
        effective,
    } = Settings::load(&console.sources)?;
    let process = Process::for_store(&settings.store);
    let validated = ValidatedSettings::new(settings, process)?;
    let (settings, egress) = (validated.settings, validated.egress);
    let mut warnings = warnings::of(&settings);
    warnings.extend(warnings::of_secret_files(&settings));
    let routes = egress.effective(&settings.catalogue);
    for warning in &warnings {
        console.warn(warning);
    }
    let lines: Vec<_> = effective
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() }))
        .collect();
    console.print(
        &json!({ "settings": lines, "egress": routes, "warnings": warnings }),
        || {
            format!(
                "{}\n{}",
                table(&effective, console),
                egress_table(routes, console)
            )
        },
    )
}

fn table(effective: &[EffectiveSetting], console: &Console) -> String {
    let rows = effective.iter().map(|setting| {
        let origin = setting.origin.to_string();
        [setting.key.clone(), setting.value.clone(), origin]
    });
    console.table(&Table::new(["SETTING", "VALUE", "FROM"]).with_rows(rows))
}

/// The default route, and the providers that have another.
fn egress_table(routes: Vec<EffectiveEgress>, console: &Console) -> String {
    let rows = routes.into_iter().map(|route| {
        let provider = route.provider.map(|id| id.to_string());
        let provider = provider.unwrap_or_else(|| "(all others)".to_owned());
        [provider, route.via, route.because]
    });
    console.table(&Table::new(["PROVIDER", "EGRESS", "BECAUSE"]).with_rows(rows))
}
