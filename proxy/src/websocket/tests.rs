use super::*;

/// The parsed frames, one a line, with joined payload.
fn read(extended: bool, pieces: &[&[u8]]) -> (Vec<String>, Result<(), FrameError>) {
    let mut frames = Frames::new(extended);
    let mut lines = Vec::new();
    let mut payload = Vec::new();
    let mut header_len = 0;
    for piece in pieces {
        let read = frames.push(piece, |part| match part {
            Part::Header(_, header) => header_len = header.len(),
            Part::Payload(_, more) => payload.extend_from_slice(more),
            Part::End(frame) => {
                let text = String::from_utf8(std::mem::take(&mut payload)).unwrap();
                let end = if frame.ends_message { "." } else { "" };
                let mark = if frame.compressed { "~" } else { "" };
                let kind = frame.kind;
                lines.push(format!("{kind:?} {header_len} {mark}{text}{end}"));
            }
        });
        if read.is_err() {
            return (lines, read);
        }
    }
    (lines, Ok(()))
}

#[test]
fn frames_are_parsed_wherever_they_are_cut() {
    let long = "x".repeat(300);
    let mut bytes = b"\x81\x05hello\x88\x00".to_vec();
    bytes.extend_from_slice(b"\x01\x02ab\x89\x01!\x00\x00\x80\x01c\x82\x7e\x01\x2c");
    bytes.extend_from_slice(long.as_bytes());
    bytes.extend_from_slice(b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc\x8a\x00\x81\x00");
    let longer = format!("Binary 4 {long}.");
    let expected = [
        "Text 2 hello.",
        "Control 2 ",
        "Text 2 ab",
        "Control 2 !",
        "Text 2 ",
        "Text 2 c.",
        longer.as_str(),
        "Binary 10 abc.",
        "Control 2 ",
        "Text 2 .",
    ];
    let singly: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(read(false, &singly).0, expected, "byte by byte");
    for cut in 0..=bytes.len() {
        let (lines, read) = read(false, &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(lines, expected, "cut at {cut}");
        assert_eq!(read, Ok(()));
    }
}

#[test]
fn a_frame_that_no_server_may_send_is_an_error_and_frames_before_it_are_read() {
    for (about, bytes, expected) in [
        ("masked", &b"\x81\x85\0\0\0\0hello"[..], FrameError::Masked),
        ("masked, empty", b"\x81\x80", FrameError::Masked),
        ("a masked ping", b"\x89\x80", FrameError::Masked),
        ("compressed", b"\xc1\x01a", FrameError::Reserved),
        ("the second bit", b"\xa1\x01a", FrameError::Reserved),
        ("the third bit", b"\x91\x01a", FrameError::Reserved),
        ("a ping with a bit", b"\xc9\x00", FrameError::Reserved),
        ("opcode 3", b"\x83\x00", FrameError::Reserved),
        ("opcode 7", b"\x87\x00", FrameError::Reserved),
        ("opcode 11", b"\x8b\x00", FrameError::Reserved),
        ("opcode 15", b"\x8f\x00", FrameError::Reserved),
        (
            "a continuation of nothing",
            b"\x80\x00",
            FrameError::OutOfOrder,
        ),
        (
            "a message in a message",
            b"\x01\x00\x81\x00",
            FrameError::OutOfOrder,
        ),
        (
            "a continuation too many",
            b"\x01\x00\x80\x00\x80\x00",
            FrameError::OutOfOrder,
        ),
        ("a fragmented ping", b"\x09\x00", FrameError::Control),
        ("a long pong", b"\x8a\x7e", FrameError::Control),
        ("a longer close", b"\x88\x7f", FrameError::Control),
        (
            "a length of 2^63",
            b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
            FrameError::TooLong,
        ),
    ] {
        let good = &b"\x81\x02ok"[..];
        let whole = [good, bytes].concat();
        let singly: Vec<_> = whole.chunks(1).collect();
        for pieces in [&[&whole[..]][..], &singly] {
            let (lines, read) = read(false, pieces);
            assert_eq!(lines[0], "Text 2 ok.", "{about}");
            assert_eq!(read, Err(expected), "{about}");
        }
    }
}

#[test]
fn with_an_extension_only_the_first_frame_of_a_message_may_say_that_it_is_compressed() {
    let (lines, ok) = read(true, &[b"\x41\x01a\x89\x00\x80\x01b\xc2\x01c\x81\x01d"]);
    assert_eq!(
        lines,
        [
            "Text 2 ~a",
            "Control 2 ",
            "Text 2 ~b.",
            "Binary 2 ~c.",
            "Text 2 d."
        ]
    );
    assert_eq!(ok, Ok(()));
    for bytes in [
        &b"\x41\x00\xc0\x00"[..],
        b"\xc9\x00",
        b"\xe1\x00",
        b"\xd1\x00",
    ] {
        assert_eq!(
            read(true, &[bytes]).1,
            Err(FrameError::Reserved),
            "{bytes:?}"
        );
    }
}
