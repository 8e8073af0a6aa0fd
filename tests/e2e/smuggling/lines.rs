//! Odd header lines, chunks and versions.

use super::Must::{Break, NotSplit, Refuse};
use super::check;

#[test]
fn an_odd_header_line_never_hides_a_framing() {
    check(&[
        (
            "a space before the colon",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding : chunked\r\n\
             Content-Length: {LENGTH}\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "a folded coding",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding:\r\n chunked\r\n\
             \r\n0\r\n\r\n{SECOND}",
        ),
        (
            "a first header line that starts with a space",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n X: y\r\n{HOST}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
        ),
        (
            "a header line without a colon",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length\r\n\r\n",
        ),
        (
            "a header line without a name",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\n: 5\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a NUL in a name",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nX\0Y: z\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a NUL in a value",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a bare CR in a value",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nX: a\rTransfer-Encoding: chunked\r\n\
             Content-Length: {LENGTH}\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "an underscore instead of a hyphen",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer_Encoding: chunked\r\n\
             Connection: close\r\nContent-Length: {LENGTH}\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "bare LF throughout the head",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\nHost: localhost\nX-Keyside-Workspace: acme\n\
             Connection: close\nContent-Length: 2\n\n{}",
        ),
        (
            "a bare LF that ends the head early",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\
             Content-Length: 2\r\n\n{}\r\n\r\n",
        ),
    ]);
}

#[test]
fn a_chunk_trick_never_reaches_the_upstream_as_a_whole_request() {
    let tricks = [
        ("a chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a negative chunk size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a signed chunk size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("no chunk size", "\r\nhello\r\n0\r\n\r\n"),
        (
            "a chunk size with an underscore",
            "1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        ),
        (
            "a chunk size that overflows",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a chunk that is longer than its size",
            "5\r\nhello!!\r\n0\r\n\r\n",
        ),
        ("a chunk without its line ending", "5\r\nhello0\r\n\r\n"),
        ("a chunk that ends in LF alone", "5\r\nhello\n0\r\n\r\n"),
        (
            "a chunk size line that ends in LF alone",
            "5\nhello\r\n0\r\n\r\n",
        ),
        (
            "a chunk size line that ends in CR alone",
            "5\rhello\r\n0\r\n\r\n",
        ),
        ("an LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("an end that is LF alone", "5\r\nhello\r\n0\n\n"),
    ];
    let texts = tricks.map(|(_, body)| {
        format!(
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{{HOST}}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}{{SECOND}}"
        )
    });
    let cases: Vec<_> = tricks
        .iter()
        .zip(&texts)
        .map(|((n, _), t)| (*n, Break, &**t))
        .collect();
    check(&cases);
}

#[test]
fn an_old_or_odd_version_is_never_two_requests() {
    check(&[
        (
            "HTTP/1.0 with chunks",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.0\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\
             \r\n0\r\n\r\n{SECOND}",
        ),
        (
            "HTTP/1.0 with chunks and keep-alive",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.0\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\
             Connection: keep-alive\r\nContent-Length: {LENGTH}\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "HTTP/0.9",
            Refuse,
            "GET /openai/v1/chat/completions\r\n\r\n",
        ),
        (
            "HTTP/1.2",
            Refuse,
            "GET /openai/v1/chat/completions HTTP/1.2\r\n{HOST}\r\n\r\n",
        ),
        (
            "HTTP/2.0 in words",
            Refuse,
            "GET /openai/v1/chat/completions HTTP/2.0\r\n{HOST}\r\n\r\n",
        ),
        (
            "HTTP/11",
            Refuse,
            "GET /openai/v1/chat/completions HTTP/11\r\n{HOST}\r\n\r\n",
        ),
        (
            "a version in lower case",
            Refuse,
            "GET /openai/v1/chat/completions http/1.1\r\n{HOST}\r\n\r\n",
        ),
        (
            "no version but a space",
            Refuse,
            "GET /openai/v1/chat/completions \r\n{HOST}\r\n\r\n",
        ),
        (
            "two spaces",
            Refuse,
            "GET  /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\n\r\n",
        ),
        (
            "a tab for a space",
            Refuse,
            "GET\t/openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\n\r\n",
        ),
        (
            "a space in the target",
            Refuse,
            "GET /openai/v1/chat/completions HTTP/1.1\r\nX: y HTTP/1.1\r\n x\r\n{HOST}\r\n\r\n",
        ),
    ]);
}
