//! Formats lines that a POSIX shell can `eval`.

/// Formats `export NAME="value"`, quoted so that the shell expands nothing in the value.
pub fn export(name: &str, value: &str) -> String {
    let mut quoted = String::with_capacity(value.len());
    for letter in value.chars() {
        // The characters that a backslash escapes between double quotes (POSIX.1-2024, Shell
        // Command Language, 2.2.3).
        if matches!(letter, '$' | '`' | '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    format!("export {name}=\"{quoted}\"\n")
}

/// Formats `unset NAME;`. The semicolon separates it from the next line if `eval` without quotes
/// joins them.
pub fn unset(name: &str) -> String {
    format!("unset {name};\n")
}

/// Prepends these hosts to `NO_PROXY` and `no_proxy`, unless they are listed already. A client
/// reads one of the two and ignores the other, so an unset variable starts with the other one's
/// list.
pub fn exempt_from_proxy(hosts: &str) -> String {
    let in_front = |name: &str, other: &str| {
        format!(
            r#"case ",${{{name}:={other}}}," in *",{hosts},"*) ;; *) {name}="{hosts}${{{name}:+,${name}}}" ;; esac;"#
        )
    };
    let upper = in_front("NO_PROXY", "${no_proxy:-}");
    let lower = in_front("no_proxy", "$NO_PROXY");
    format!("{upper}\n{lower}\nexport NO_PROXY no_proxy\n")
}

/// Formats every line as a comment.
pub fn comment(text: &str) -> String {
    let line = |line: &str| format!("# {line}").trim_end().to_owned() + "\n";
    text.lines().map(line).collect()
}

/// Whether it is the name of an environment variable, which POSIX writes in capitals, rather than
/// an option in code such as `server_url`.
pub fn is_variable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_is_expanded() {
        assert_eq!(export("A", "b c"), "export A=\"b c\"\n");
        assert_eq!(
            export("A", r#"$(b) `c` "d" \e"#),
            "export A=\"\\$(b) \\`c\\` \\\"d\\\" \\\\e\"\n"
        );
    }

    #[test]
    fn an_exemption_keeps_what_either_variable_lists() {
        assert_eq!(
            exempt_from_proxy("localhost,::1"),
            r#"case ",${NO_PROXY:=${no_proxy:-}}," in *",localhost,::1,"*) ;; *) NO_PROXY="localhost,::1${NO_PROXY:+,$NO_PROXY}" ;; esac;
case ",${no_proxy:=$NO_PROXY}," in *",localhost,::1,"*) ;; *) no_proxy="localhost,::1${no_proxy:+,$no_proxy}" ;; esac;
export NO_PROXY no_proxy
"#
        );
    }

    #[test]
    fn every_line_of_a_comment_is_one() {
        assert_eq!(comment("a\n\nrm -rf b\n"), "# a\n#\n# rm -rf b\n");
        assert_eq!(comment(""), "");
    }

    #[test]
    fn an_option_in_code_is_not_a_variable() {
        assert!(is_variable("OPENAI_BASE_URL") && is_variable("A1"));
        assert!(!is_variable("server_url") && !is_variable("1A") && !is_variable(""));
    }
}
