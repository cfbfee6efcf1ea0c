//! What a test tells a program to do that goes on for another. No release has this.

/// What it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Not to start.
    Refuse,
    /// To die at once.
    Abort,
    /// To go back to the program before, when it could be confirmed.
    GoBack,
}

/// Returns what this program was told, by a variable of its environment.
pub(super) fn given() -> Option<Order> {
    match std::env::var("PROXYD_ORDERS_AFTER_EXEC").ok()?.as_str() {
        "refuse" => Some(Order::Refuse),
        "abort" => Some(Order::Abort),
        "go-back" => Some(Order::GoBack),
        _ => None,
    }
}
