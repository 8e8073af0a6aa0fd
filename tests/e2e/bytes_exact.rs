//! What one side sends is what the other side gets, byte for byte.

use crate::harness::{Ask, Keyside, Upstream};

#[test]
fn a_request_is_answered() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(upstream.only().target(), "/v1/chat/completions");
}
