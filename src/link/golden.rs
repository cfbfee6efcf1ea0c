//! Holds the messages between the supervisor and its workers to [`super::FORMAT`].

use super::{FORMAT, FromWorker, ToWorker};
use crate::control::golden::Golden;

#[test]
fn golden_bytes_of_the_link_belong_to_their_version() {
    Golden::new("link", FORMAT, "link::FORMAT")
        .message::<ToWorker>("ToWorker")
        .message::<FromWorker>("FromWorker")
        .check();
}
