use super::*;

fn framing() -> Framing {
    Framing::new(64 * 1024)
}

/// Checks that the verdict is the same for every cut into two reads, and byte by byte.
fn check(bytes: &[u8]) -> Result<(), FramingError> {
    let mut framings =
        Vec::from_iter((0..=bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]));
    framings.push(bytes.chunks(1).collect());
    let found = framings.into_iter().map(|pieces| {
        let mut framing = framing();
        let found = pieces
            .into_iter()
            .try_for_each(|piece| framing.check(piece));
        found.map_err(|(error, _)| error)
    });
    let found = Vec::from_iter(found);
    assert!(
        found.iter().all(|verdict| *verdict == found[0]),
        "{found:?}"
    );
    found[0]
}

#[test]
fn a_head_before_a_malformed_body_is_complete() {
    let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let found = framing().check(&[&head[..], b"5;\r\n"].concat());
    assert_eq!(found, Err((FramingError::Chunk, head.len())));
}

fn chunked(body: &str) -> Result<(), FramingError> {
    let request = format!(
        "\r\nPOST /a HTTP/1.1\r\nHost: localhost\r\ntransfer-ENCODING: gzip, chunked\r\n\r\n{body}"
    );
    check(request.as_bytes())
}

#[test]
fn well_formed_chunks_pass() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a\r\nhello\r\n0;b=c\r\n\r\n",
        "5 ;\ta = \"q\" ; b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"x y;\\\"z\";b\r\nhello\r\n0\r\n\r\n",
        "00a\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n",
        "5\r\nhel\r\n\r\n0\r\n\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n;;;GET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(chunked(body), Ok(()), "{body:?}");
    }
}

#[test]
fn chunks_that_two_servers_could_read_differently_are_refused() {
    for body in [
        "5;\r\nhello\r\n0\r\n\r\n",
        "5; \r\nhello\r\n0\r\n\r\n",
        "5;;a\r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\0\"\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\nX: a\0\r\n\r\n",
        "0\r\n:path: /\r\n\r\n",
        "0\r\n X: folded\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "\r\n",
    ] {
        assert_eq!(chunked(body), Err(FramingError::Chunk), "{body:?}");
    }
}

#[test]
fn bodies_with_a_length_are_not_checked() {
    let request =
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n0\r\n\n;;;\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(check(request.as_bytes()), Ok(()));
}

#[test]
fn a_request_after_one_with_a_length_is_checked() {
    let request = "POST / HTTP/1.1\nContent-Length: 2\n\n{}POST / HTTP/1.1\r\n\
                   Transfer-Encoding: chunked\r\n\r\n0\r\n\n";
    assert_eq!(check(request.as_bytes()), Err(FramingError::Chunk));
}

#[test]
fn a_tunnel_is_not_checked() {
    let mut framing = framing();
    framing.stop();
    let bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n";
    assert_eq!(framing.check(bytes), Ok(()));
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn http2(frames: &[Vec<u8>]) -> Result<(), FramingError> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    check(&[&[preface], frames].concat().concat())
}

/// A request whose trailers consist of this block.
fn trailers(flags: u8, block: &[u8]) -> Result<(), FramingError> {
    http2(&[
        frame(4, 0, 0, &[]),
        frame(1, 0x4, 1, &[0x83, 0x86, 0x84]),
        frame(0, 0, 1, b"{}"),
        frame(1, flags, 1, block),
    ])
}

#[test]
fn http2_heads_and_ordinary_trailers_pass() {
    let literal = [&[0x40, 5][..], b"x-sum", &[1], b"1"].concat();
    let huffman = [0x40, 0x84, 0xf2, 0xb6, 0xab, 0xff, 1, b'1'];
    for block in [
        &literal[..],
        &huffman,
        &[0x5f, 1, b'a'],
        &[0x0f, 0x0a, 1, b'a'],
        &[0xbd],
    ] {
        assert_eq!(trailers(0x5, block), Ok(()), "{block:02x?}");
    }
    let padded = [&[2, 0, 0, 0, 0, 9][..], &literal, &[0, 0]].concat();
    assert_eq!(trailers(0x5 | 0x8 | 0x20, &padded), Ok(()));
    let resized = [&[0x3f, 0xe1, 0x1f, 0x20][..], &literal].concat();
    assert_eq!(trailers(0x5, &resized), Ok(()));
}

#[test]
fn http2_trailers_with_pseudo_header_fields_are_refused() {
    let literal = [&[0x40, 5][..], b":path", &[1], b"/"].concat();
    let never_indexed = [&[0x10, 5][..], b":path", &[1], b"/"].concat();
    let huffman = [0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/'];
    for block in [
        &literal[..],
        &never_indexed,
        &huffman,
        &[0x83],
        &[0x44, 1, b'/'],
        &[0x04, 1, b'/'],
        &[0x14, 1, b'/'],
    ] {
        assert_eq!(
            trailers(0x5, block),
            Err(FramingError::Trailers),
            "{block:02x?}"
        );
    }
    let padded = [&[2, 0x84][..], &[0, 0]].concat();
    assert_eq!(trailers(0x5 | 0x8, &padded), Err(FramingError::Trailers));
}

#[test]
fn http2_trailers_are_followed_into_their_continuation() {
    let trailers = |first: &[u8], second: &[u8]| {
        http2(&[
            frame(1, 0x4, 1, &[0x83, 0x86, 0x84]),
            frame(0, 0, 1, b"{}"),
            frame(1, 0x1, 1, first),
            frame(9, 0x4, 1, second),
        ])
    };
    let path = [&[0x40, 5][..], b":path", &[1], b"/"].concat();
    for cut in 0..3 {
        let (first, second) = path.split_at(cut);
        assert_eq!(
            trailers(first, second),
            Err(FramingError::Trailers),
            "cut at {cut}"
        );
    }
    let ordinary = [&[0x40, 5][..], b"x-sum", &[1], b"1"].concat();
    for cut in 0..ordinary.len() {
        let (first, second) = ordinary.split_at(cut);
        assert_eq!(trailers(first, second), Ok(()), "cut at {cut}");
    }
}

/// Trailers after a head that left these fields in the connection's table; index 62 is the newest.
fn trailers_after(before: &[u8], block: &[u8]) -> Result<(), FramingError> {
    http2(&[
        frame(1, 0x4, 1, &[&[0x83, 0x86, 0x84][..], before].concat()),
        frame(0, 0, 1, b"{}"),
        frame(1, 0x5, 1, block),
    ])
}

fn kept(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| [&[text.len() as u8], text].concat();
    [&[0x40][..], &text(name), &text(value)].concat()
}

#[test]
fn http2_trailers_that_were_sent_before_pass() {
    let before = [kept(b"x-sum", b"1"), kept(b":path", b"/a")].concat();
    for block in [&[0xbf][..], &[0x7f, 0x00, 1, b'/'], &[0x20], &[]] {
        assert_eq!(trailers_after(&before, block), Ok(()), "{block:02x?}");
    }
}

#[test]
fn http2_pseudo_header_fields_are_recognised_by_index() {
    let before = [kept(b":path", b"/a"), kept(b"x-sum", b"1")].concat();
    for block in [
        &[0xbf][..],
        &[0x7f, 0x00, 1, b'/'],
        &[0x0f, 0x30, 1, b'/'],
        &[0x1f, 0x30, 1, b'/'],
        // After an ordinary field, and after one that shifts the index.
        &[0xbe, 0xbf],
        &[&kept(b"x-other", b"2")[..], &[0xc0]].concat(),
    ] {
        let refused = Err(FramingError::Trailers);
        assert_eq!(trailers_after(&before, block), refused, "{block:02x?}");
    }
}

#[test]
fn http2_entries_are_counted_from_the_newest() {
    let newer = vec![kept(b"x", b""); 127].concat();
    for (before, pseudo) in [
        ([kept(b":path", b""), newer.clone()].concat(), true),
        ([kept(b"x-old", b""), newer.clone()].concat(), false),
    ] {
        // 62 and 127 more, 127 of them in the first byte.
        let oldest = [0xff, 62];
        let expected = if pseudo {
            Err(FramingError::Trailers)
        } else {
            Ok(())
        };
        assert_eq!(trailers_after(&before, &oldest), expected);
    }
}

#[test]
fn http2_heads_that_h2_does_not_decode_are_refused() {
    let depending = |on: u32| {
        let priority = [&on.to_be_bytes()[..], &[16], &[0x83, 0x86, 0x84]].concat();
        http2(&[frame(1, 0x5 | 0x20, 3, &priority)])
    };
    assert_eq!(depending(1), Ok(()));
    assert_eq!(depending(3), Err(FramingError::Fields));
    assert_eq!(depending(3 | 1 << 31), Err(FramingError::Fields));
}

#[test]
fn http2_field_blocks_that_cannot_be_read_are_refused() {
    for block in [
        &[0x80][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x40, 3, b'x'],
        &[0x40],
        // An index beyond any table.
        &[0xff, 0xbf, 0x01],
    ] {
        assert_eq!(
            trailers(0x5, block),
            Err(FramingError::Fields),
            "{block:02x?}"
        );
    }
    let endless: Vec<_> = (0..17).map(|_| frame(9, 0, 1, &[0; 16_384])).collect();
    let frames = [&[frame(1, 0, 1, &[0x83])][..], &endless].concat();
    assert_eq!(http2(&frames), Err(FramingError::Fields));
}
