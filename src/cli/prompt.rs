//! A line that is typed or pasted at the terminal and not shown, read into one buffer that is wiped.
//!
//! A byte at a time and without the terminal's own line editing: that takes no line of more than 4095 bytes (termios(3)),
//! and a secret may be longer.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
};

use nix::sys::{
    signal::{Signal, raise},
    termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use super::sensitive::{ReadError, into_text};

/// Asks for a line of at most `limit` bytes on the terminal of this process, wherever its input comes from.
pub(super) fn ask(question: &str, limit: usize) -> Result<Zeroizing<String>, ReadError> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let typed = {
        let _unseen = Unseen::on(&terminal)?;
        line(&mut &terminal, limit)
    };
    terminal.write_all(b"\n")?;
    match typed? {
        Typed::Line(bytes) => into_text(bytes),
        // As the terminal would have done, once it is as it was.
        Typed::Interrupt => {
            raise(Signal::SIGINT).map_err(io::Error::from)?;
            Err(io::Error::from(ErrorKind::Interrupted).into())
        }
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Unseen<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn on(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut unseen = before.clone();
        let shown = LocalFlags::ECHO | LocalFlags::ECHONL;
        // Signals too: one that ended the process here would leave a terminal that shows nothing.
        unseen
            .local_flags
            .remove(shown | LocalFlags::ICANON | LocalFlags::ISIG);
        unseen.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        unseen.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(terminal, SetArg::TCSANOW, &unseen)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// What came of typing.
enum Typed {
    Line(Zeroizing<Vec<u8>>),
    Interrupt,
}

/// Reads up to the end of a line, with what a terminal offers to correct it: a character back, all of it away.
fn line(from: &mut impl Read, limit: usize) -> Result<Typed, ReadError> {
    let mut typed = Zeroizing::new(Vec::with_capacity(limit));
    while let Some(byte) = byte(from)? {
        match byte {
            b'\n' | b'\r' => return Ok(Typed::Line(typed)),
            INTERRUPT => return Ok(Typed::Interrupt),
            END if typed.is_empty() => break,
            BACKSPACE | DELETE => take_back(&mut typed),
            // A secret is one word.
            CLEAR_LINE | CLEAR_WORD => typed.clear(),
            ESCAPE => skip_sequence(from)?,
            control if control.is_ascii_control() => {}
            _ if typed.len() == limit => return Err(ReadError::TooLong(limit)),
            byte => typed.push(byte),
        }
    }
    match typed.is_empty() {
        true => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        false => Ok(Typed::Line(typed)),
    }
}

/// The last character, which in UTF-8 is its first byte and those that go on from it.
fn take_back(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// What an arrow key or the like sends after an escape: up to its final byte (ECMA-48 section 5.4).
fn skip_sequence(from: &mut impl Read) -> io::Result<()> {
    if matches!(byte(from)?, Some(b'[' | b'O')) {
        while byte(from)?.is_some_and(|byte| !(0x40..=0x7e).contains(&byte)) {}
    }
    Ok(())
}

fn byte(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR_LINE: u8 = 0x15;
const CLEAR_WORD: u8 = 0x17;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Option<String> {
        match line(&mut keys.as_bytes(), 10) {
            Ok(Typed::Line(typed)) => Some(String::from_utf8(typed.to_vec()).unwrap()),
            Ok(Typed::Interrupt) | Err(_) => None,
        }
    }

    #[test]
    fn a_line_is_what_is_left_when_it_ends() {
        for (keys, left) in [
            ("sk-1\n", "sk-1"),
            ("sk-1\r", "sk-1"),
            ("sk-1", "sk-1"),
            ("sk-1\nmore", "sk-1"),
            ("sk-2\u{7f}1\n", "sk-1"),
            ("sk-é\u{8}1\n", "sk-1"),
            ("\u{7f}\u{7f}sk-1\n", "sk-1"),
            ("wrong\u{15}sk-1\n", "sk-1"),
            ("wrong\u{17}sk-1\n", "sk-1"),
            ("sk\u{1b}[D\u{1b}OA\u{1b}[1;5C-1\n", "sk-1"),
            ("s\u{0}k\u{4}-\u{7}1\n", "sk-1"),
            ("0123456789\n", "0123456789"),
            ("\n", ""),
        ] {
            assert_eq!(typed(keys).as_deref(), Some(left), "{keys:?}");
        }
    }

    #[test]
    fn an_interrupt_an_end_and_a_line_that_is_too_long_are_none() {
        for keys in ["", "\u{4}", "sk-1\u{3}\n", "0123456789a\n"] {
            assert_eq!(typed(keys), None, "{keys:?}");
        }
    }

    #[test]
    fn the_buffer_of_a_line_never_grows() {
        let Ok(Typed::Line(typed)) = line(&mut "0123456789\n".as_bytes(), 10) else {
            panic!("no line");
        };
        assert_eq!(typed.capacity(), 10);
    }
}
