//! CSV (RFC 4180) that is safe to open in a spreadsheet: a cell that would be a formula begins with
//! an apostrophe, which spreadsheets read as "this is text".

use keyside_credentials::AuditRecord;

pub(super) fn heading() -> String {
    row(COLUMNS.map(str::to_owned))
}

pub(super) fn line(record: &AuditRecord) -> String {
    fn or_empty(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    row([
        record.chain.to_string(),
        record.position.to_string(),
        record.at.to_string(),
        record.event.as_str().to_owned(),
        record.actor.to_string(),
        record.request_id.clone(),
        or_empty(record.workspace.as_ref()),
        or_empty(record.credential.as_ref()),
        or_empty(record.provider.as_ref()),
        or_empty(record.fingerprint.as_ref()),
        or_empty(record.note.as_ref()),
        record.hash.to_string(),
        record.previous.to_string(),
    ])
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

const COLUMNS: [&str; 13] = [
    "chain",
    "position",
    "at",
    "event",
    "actor",
    "requestId",
    "workspaceId",
    "credentialId",
    "provider",
    "fingerprint",
    "note",
    "hash",
    "previous",
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
