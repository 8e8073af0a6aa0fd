//! CSV (RFC 4180) that is safe to open in a spreadsheet: a cell that would be a formula begins with
//! an apostrophe, which spreadsheets read as "this is text".

use keyside_credentials::AuditRecord;

pub(super) fn heading() -> String {
    row(COLUMNS.map(|(name, _)| name.to_owned()))
}

pub(super) fn line(record: &AuditRecord) -> String {
    row(COLUMNS.map(|(_, cell)| cell(record)))
}

fn or_empty(value: &Option<impl ToString>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn row<const N: usize>(cells: [String; N]) -> String {
    let cells = cells.map(|cell| quoted(&cell));
    format!("{}\r\n", cells.join(","))
}

fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let apostrophe = if is_formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", cell.replace('"', "\"\""))
}

/// A column's name and its cell.
type Column = (&'static str, fn(&AuditRecord) -> String);

const COLUMNS: [Column; 13] = [
    ("chain", |record| record.chain.to_string()),
    ("position", |record| record.position.to_string()),
    ("at", |record| record.at.to_string()),
    ("event", |record| record.event.as_str().to_owned()),
    ("actor", |record| record.actor.to_string()),
    ("requestId", |record| record.request_id.clone()),
    ("workspaceId", |record| or_empty(&record.workspace)),
    ("credentialId", |record| or_empty(&record.credential)),
    ("provider", |record| or_empty(&record.provider)),
    ("fingerprint", |record| or_empty(&record.fingerprint)),
    ("note", |record| or_empty(&record.note)),
    ("hash", |record| record.hash.to_string()),
    ("previous", |record| record.previous.to_string()),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_none_breaks_out_of_its_quotes() {
        for (cell, written) in [
            ("plain", "\"plain\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a\",\"=1", "\"a\"\",\"\"=1\""),
        ] {
            assert_eq!(quoted(cell), written);
        }
    }
}
