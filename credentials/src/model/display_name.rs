//! Which names of workspaces and tokens are accepted: ones that look in a list like what they are.

/// Whether a text is 1 to 200 characters, and shows all of them.
///
/// Refuses texts of spaces alone, control characters, line separators, and what Unicode does not display
/// (`Default_Ignorable_Code_Point` in DerivedCoreProperties.txt): marks that reverse or isolate a part
/// of the text, with which a name can appear as another one, and characters of no width. Letters that
/// are written from right to left need no such mark.
///
/// Two kinds of those characters are accepted, because they change how the one before is drawn:
///
/// - The joiners U+200C and U+200D, which Persian, Indic scripts and emoji need, only after a character
///   that is neither ASCII nor a joiner. Between Latin letters they would be invisible.
/// - Variation selectors, with which emoji are coloured, only after a character that is neither ASCII,
///   except in a key cap, nor itself one of both kinds. Any text can be hidden in a row of them.
///
/// Tags (U+E0020 to U+E007F) are not: of all emoji, the flags of parts of a country have them, and any
/// ASCII text can be hidden in them.
pub(super) fn is_display_name(text: &str) -> bool {
    let mut before = ' ';
    let is_seen = |character| {
        let base = std::mem::replace(&mut before, character);
        match character {
            _ if is_joiner(character) => !base.is_ascii() && !is_joiner(base),
            _ if is_variation_selector(character) => {
                let is_bare = !is_joiner(base) && !is_variation_selector(base);
                is_bare && (!base.is_ascii() || is_on_key_caps(base))
            }
            _ => !is_hidden(character),
        }
    };
    let length = text.chars().count();
    (1..=200).contains(&length) && text.chars().all(is_seen) && !text.chars().all(is_blank)
}

/// A character of some width that draws nothing.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{2800}'
}

fn is_on_key_caps(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '#' | '*')
}

fn is_variation_selector(character: char) -> bool {
    matches!(
        character,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

fn is_hidden(character: char) -> bool {
    let breaks_or_annotates =
        matches!(character, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}');
    let is_ignorable = matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    );
    character.is_control() || breaks_or_annotates || is_ignorable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_in_any_script_and_emoji_are_accepted() {
        for name in [
            "Acme",
            "a' OR <b>1</b>",
            "\u{5d0}\u{5d1}\u{5d2} (Acme) \u{627}\u{644}\u{639}",
            // Persian with a joiner inside, Malayalam with one at the end.
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{d28}\u{d4d}\u{200d}",
            // A family, a rainbow flag, a key cap.
            "Home \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308} Team 1\u{fe0f}\u{20e3}",
            // A heart, and a Chinese character in one of its forms.
            "I \u{2764}\u{fe0f} \u{845b}\u{e0100}",
            &"\u{e9}".repeat(200),
        ] {
            assert!(is_display_name(name), "{name:?}");
        }
    }

    #[test]
    fn what_is_hidden_or_turns_the_text_around_is_refused() {
        let ranges = [
            '\0'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{206f}',
            '\u{feff}'..='\u{feff}',
            '\u{e0020}'..='\u{e007f}',
        ];
        for hidden in ranges.into_iter().flatten() {
            for name in [
                format!("ac{hidden}me"),
                format!("{hidden}acme"),
                hidden.to_string(),
            ] {
                assert!(!is_display_name(&name), "{name:?}");
            }
        }
        for name in [
            "",
            "\u{ad}",
            "\u{3164}",
            "\u{645}\u{200c}\u{200c}\u{62e}",
            " ",
            "\u{a0}\u{3000}",
            "\u{2800}",
            "\u{fe0f}",
            "Acme\u{fe0f}",
            "\u{2764}\u{fe0f}\u{fe0e}",
            "\u{845b}\u{e0100}\u{e0101}",
            "\u{627}\u{200d}\u{fe0f}\u{627}",
            &"a".repeat(201),
        ] {
            assert!(!is_display_name(name), "{name:?}");
        }
    }
}
