//! Reads a typed or pasted line without echo, into one buffer that is wiped.
//!
//! Reads byte by byte and without the terminal's own line editing, which accepts at most 4095 bytes
//! per line (termios(3)); a secret may be longer.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::fd::AsFd,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::{SfdFlags, SignalFd},
        termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr},
    },
};
use zeroize::Zeroizing;

use super::sensitive::{ReadError, into_text};

/// Prompts for a line of at most `limit` bytes on this process's terminal, even if standard input
/// is redirected.
pub(super) fn ask(question: &str, limit: usize) -> Result<Zeroizing<String>, ReadError> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    loop {
        match ask_once(&terminal, question, limit)? {
            Input::Line(bytes) => return into_text(bytes),
            // Sends the signal as the terminal would have done, now that its settings are restored.
            Input::Signal(signal) => raise(signal).map_err(io::Error::from)?,
            // It was delivered when the signals were unblocked.
            Input::ExternalSignal => {}
        }
        // The signal is ignored, or it stopped this process, which was continued since.
    }
}

fn ask_once(mut terminal: &File, question: &str, limit: usize) -> Result<Input, ReadError> {
    // Dropped in reverse order, so the terminal is restored before a signal can end this process.
    let signals = BlockedSignals::block()?;
    let _no_echo = NoEcho::enable(terminal)?;
    terminal.write_all(question.as_bytes())?;
    let mut keys = Keyboard {
        terminal,
        signals: &signals.pending,
    };
    let typed = read_single_line(&mut keys, limit);
    terminal.write_all(b"\n")?;
    typed
}

/// Blocks signals that would end or stop this process, until this is dropped. Every other thread
/// must block them too, or it would receive them.
struct BlockedSignals {
    pending: SignalFd,
    before: SigSet,
}

impl BlockedSignals {
    fn block() -> io::Result<Self> {
        let before = SigSet::thread_get_mask()?;
        let mut blocked = SigSet::empty();
        // A signal that was blocked before would stay pending.
        for signal in BLOCKED_SIGNALS {
            if !before.contains(signal) {
                blocked.add(signal);
            }
        }
        let pending = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC)?;
        blocked.thread_block()?;
        Ok(Self { pending, before })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Disables the terminal's echo until this is dropped.
///
/// Earlier input, and input that is left unread, is discarded (`TCSAFLUSH`, as getpass(3) does):
/// the shell would show the rest of a paste, run it, and keep it in its history.
struct NoEcho<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> NoEcho<'a> {
    fn enable(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut no_echo = before.clone();
        let shown = LocalFlags::ECHO | LocalFlags::ECHONL;
        // Keys that send signals arrive as bytes too, in order with the others.
        no_echo
            .local_flags
            .remove(shown | LocalFlags::ICANON | LocalFlags::ISIG);
        no_echo.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        no_echo.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(terminal, SetArg::TCSAFLUSH, &no_echo)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for NoEcho<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// A source of typed bytes.
trait Keys {
    /// Waits for the next byte or signal.
    fn next(&mut self) -> io::Result<KeyEvent>;

    /// Discards input that is available or follows at once. Returns whether it contained more than
    /// line ends.
    fn discard(&mut self) -> io::Result<bool>;
}

enum KeyEvent {
    Byte(u8),
    Signal,
    End,
}

/// A terminal, and signals that arrive meanwhile.
struct Keyboard<'a> {
    terminal: &'a File,
    signals: &'a SignalFd,
}

impl Keys for Keyboard<'_> {
    fn next(&mut self) -> io::Result<KeyEvent> {
        match self.wait(PollTimeout::NONE)? {
            Ready::Signal => Ok(KeyEvent::Signal),
            Ready::Terminal | Ready::Neither => {
                let byte = byte(&mut self.terminal)?;
                Ok(byte.map_or(KeyEvent::End, KeyEvent::Byte))
            }
        }
    }

    fn discard(&mut self) -> io::Result<bool> {
        let mut more = false;
        while let Ready::Terminal = self.wait(PollTimeout::from(PASTE_GAP))? {
            match byte(&mut self.terminal)? {
                Some(byte) => more |= !matches!(byte, b'\n' | b'\r'),
                None => break,
            }
        }
        Ok(more)
    }
}

enum Ready {
    Terminal,
    Signal,
    Neither,
}

impl Keyboard<'_> {
    fn wait(&self, timeout: PollTimeout) -> io::Result<Ready> {
        let mut watched = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut watched, timeout) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // If nix does not know a flag, the read reports the error.
        let [signal, terminal] = watched.map(|one| one.any().unwrap_or(true));
        Ok(match (signal, terminal) {
            (true, _) => Ready::Signal,
            (false, true) => Ready::Terminal,
            (false, false) => Ready::Neither,
        })
    }
}

enum Input {
    Line(Zeroizing<Vec<u8>>),
    /// A key that sends a signal.
    Signal(Signal),
    ExternalSignal,
}

/// Reads a line and refuses it if more follows at once: only the first line of a paste would be
/// saved.
fn read_single_line(keys: &mut impl Keys, limit: usize) -> Result<Input, ReadError> {
    let typed = line(keys, limit);
    if matches!(typed, Ok(Input::Signal(_) | Input::ExternalSignal)) {
        return typed;
    }
    match (keys.discard()?, typed) {
        (true, Ok(_)) => Err(ReadError::MultipleLines),
        (_, typed) => typed,
    }
}

/// Reads up to the end of a line, with a terminal's editing keys: delete a character, delete
/// everything.
fn line(keys: &mut impl Keys, limit: usize) -> Result<Input, ReadError> {
    let mut typed = Zeroizing::new(Vec::with_capacity(limit));
    let mut event = keys.next()?;
    loop {
        let byte = match event {
            KeyEvent::Byte(byte) => byte,
            KeyEvent::Signal => return Ok(Input::ExternalSignal),
            KeyEvent::End => break,
        };
        match byte {
            b'\n' | b'\r' => return Ok(Input::Line(typed)),
            INTERRUPT => return Ok(Input::Signal(Signal::SIGINT)),
            QUIT => return Ok(Input::Signal(Signal::SIGQUIT)),
            SUSPEND => return Ok(Input::Signal(Signal::SIGTSTP)),
            END if typed.is_empty() => break,
            BACKSPACE | DELETE => delete_last(&mut typed),
            // A secret is one word.
            CLEAR_LINE | CLEAR_WORD => typed.clear(),
            ESCAPE => {
                event = skip_escape_sequence(keys)?;
                continue;
            }
            control if control.is_ascii_control() => {}
            _ if typed.len() == limit => return Err(ReadError::TooLong(limit)),
            byte => typed.push(byte),
        }
        event = keys.next()?;
    }
    match typed.is_empty() {
        true => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        false => Ok(Input::Line(typed)),
    }
}

/// Deletes the last character, with all its UTF-8 bytes.
fn delete_last(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Skips the escape sequence of an arrow key or similar, up to its final byte (ECMA-48 section
/// 5.4), and returns what comes next. A control character ends the sequence early; any other byte
/// may belong to the secret.
fn skip_escape_sequence(keys: &mut impl Keys) -> Result<KeyEvent, ReadError> {
    match keys.next()? {
        KeyEvent::Byte(b'[' | b'O') => {}
        KeyEvent::Byte(byte) if !byte.is_ascii_control() => return Err(ReadError::EscapeSequence),
        other => return Ok(other),
    }
    loop {
        match keys.next()? {
            KeyEvent::Byte(0x20..=0x3f) => {}
            KeyEvent::Byte(0x40..=0x7e) => return keys.next().map_err(ReadError::from),
            KeyEvent::Byte(byte) if !byte.is_ascii_control() => {
                return Err(ReadError::EscapeSequence);
            }
            other => return Ok(other),
        }
    }
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

/// Signals that end or stop a process that does not handle them, and that others may send.
const BLOCKED_SIGNALS: [Signal; 8] = [
    Signal::SIGALRM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Milliseconds: the longest gap inside one paste. Nobody types the next line that soon.
const PASTE_GAP: u8 = 50;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR_LINE: u8 = 0x15;
const CLEAR_WORD: u8 = 0x17;
const SUSPEND: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;
const QUIT: u8 = 0x1c;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    impl Keys for &[u8] {
        fn next(&mut self) -> io::Result<KeyEvent> {
            Ok(byte(self)?.map_or(KeyEvent::End, KeyEvent::Byte))
        }

        fn discard(&mut self) -> io::Result<bool> {
            let rest = mem::take(self);
            Ok(rest.iter().any(|byte| !matches!(byte, b'\n' | b'\r')))
        }
    }

    fn outcome(keys: &str) -> Result<Input, ReadError> {
        read_single_line(&mut keys.as_bytes(), 10)
    }

    fn typed(keys: &str) -> Option<String> {
        match outcome(keys) {
            Ok(Input::Line(typed)) => Some(String::from_utf8(typed.to_vec()).unwrap()),
            Ok(Input::Signal(_) | Input::ExternalSignal) | Err(_) => None,
        }
    }

    #[test]
    fn a_key_that_sends_a_signal_does_so_anywhere_in_a_line() {
        for (byte, expected) in [
            ('\u{3}', Signal::SIGINT),
            ('\u{1c}', Signal::SIGQUIT),
            ('\u{1a}', Signal::SIGTSTP),
        ] {
            for before in [
                "",
                "sk-1",
                "sk-1\u{1b}",
                "sk-1\u{1b}[",
                "sk-1\u{1b}[1;",
                "\u{1b}O",
            ] {
                let signal = outcome(&format!("{before}{byte}more\n"));
                assert!(
                    matches!(signal, Ok(Input::Signal(signal)) if signal == expected),
                    "{before:?}"
                );
            }
        }
    }

    #[test]
    fn more_than_one_line_is_refused_and_all_of_it_is_discarded() {
        let mut keys = "sk-1\nsk-2\nsk-3\n".as_bytes();
        assert!(matches!(
            read_single_line(&mut keys, 10),
            Err(ReadError::MultipleLines)
        ));
        assert!(keys.is_empty());
        let mut keys = "0123456789and more\nand more\n".as_bytes();
        let long = read_single_line(&mut keys, 10);
        assert!(matches!(long, Err(ReadError::TooLong(10))));
        assert!(keys.is_empty());
    }

    #[test]
    fn an_escape_sequence_never_swallows_a_character_of_the_secret() {
        for keys in ["\u{1b}sk-1\n", "sk\u{1b}-1\n", "sk\u{1b}[é-1\n"] {
            assert!(
                matches!(outcome(keys), Err(ReadError::EscapeSequence)),
                "{keys:?}"
            );
        }
        assert_eq!(typed("sk-1\u{1b}\n").as_deref(), Some("sk-1"));
    }

    #[test]
    fn a_line_contains_what_remains_after_editing() {
        for (keys, left) in [
            ("sk-1\n", "sk-1"),
            ("sk-1\r", "sk-1"),
            ("sk-1", "sk-1"),
            ("sk-1\r\n\n", "sk-1"),
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
    fn an_interrupt_an_end_and_a_line_that_is_too_long_give_no_line() {
        for keys in ["", "\u{4}", "sk-1\u{3}\n", "0123456789a\n"] {
            assert_eq!(typed(keys), None, "{keys:?}");
        }
    }

    #[test]
    fn the_buffer_of_a_line_never_grows() {
        let Ok(Input::Line(typed)) = line(&mut "0123456789\n".as_bytes(), 10) else {
            panic!("no line");
        };
        assert_eq!(typed.capacity(), 10);
    }
}
