//! Holds the messages between the supervisor and its children to [`super::FORMAT`].

use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, FORMAT, FromPage, FromResolver, FromWorker, Handover, News, ToPage, ToResolver,
    ToWorker,
};
use crate::control::golden::Golden;

/// What is handed over in memory.
#[derive(Serialize, Deserialize)]
enum InMemory {
    Generation(Handover),
    News(News),
}

/// What a worker asks the resolver, which is of one kind.
#[derive(Serialize, Deserialize)]
enum OfResolver {
    Ask(Ask),
}

#[test]
fn golden_bytes_of_the_link_belong_to_their_version() {
    Golden::new("link", FORMAT, "link::FORMAT")
        .message::<ToWorker>("ToWorker")
        .message::<FromWorker>("FromWorker")
        .message::<InMemory>("InMemory")
        .message::<ToResolver>("ToResolver")
        .message::<FromResolver>("FromResolver")
        .message::<OfResolver>("OfResolver")
        .message::<Answer>("Answer")
        .message::<ToPage>("ToPage")
        .message::<FromPage>("FromPage")
        .check();
}
