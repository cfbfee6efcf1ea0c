//! What browsers may do with the page: run its own script, apply its own style, ask its own address, and nothing else.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

/// The script that refreshes the page.
pub(super) const SCRIPT: &str = include_str!("refresh.js");

/// How the page looks.
pub(super) const STYLE: &str = include_str!("style.css");

/// The icon of a tab while all is well: a tick.
pub(super) const ICON_GOOD: &str = concat!(
    "<link id=\"tab\" rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' ",
    "viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='8' fill='%231a7f37'/%3E%3Cpath d='M4.5 8.3 7 10.7 11.6 5.6' ",
    "fill='none' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E\">\n"
);

/// The icon of a tab while something is to be looked into: a triangle.
pub(super) const ICON_ODD: &str = concat!(
    "<link id=\"tab\" rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' ",
    "viewBox='0 0 16 16'%3E%3Cpath d='M8 .5 16 15H0Z' fill='%23bf8700'/%3E%3Cpath d='M8 5.6V9.8M8 12V13' ",
    "stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E\">\n"
);

/// The icon of a tab while an operator must act: an octagon.
pub(super) const ICON_BAD: &str = concat!(
    "<link id=\"tab\" rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' ",
    "viewBox='0 0 16 16'%3E%3Cpath d='M4.7 0H11.3L16 4.7V11.3L11.3 16H4.7L0 11.3V4.7Z' fill='%23cf222e'/%3E",
    "%3Cpath d='M8 3.4V9M8 11.3V13' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E\">\n"
);

/// The hashes let exactly these two texts in (CSP Level 3, section 2.3.1), and `data:` the icon of the tab.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| BASE64.encode(digest(&SHA256, text.as_bytes()).as_ref());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::try_from(policy).ok()
});

/// Adds what every answer with a page says beside it.
pub(in crate::page) fn headers(headers: &mut HeaderMap) {
    let fixed = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // It is made of literals, so that it always is a header.
    let policy = POLICY.clone();
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_in_the_page_s_own_style_and_script_alone() {
        let mut map = HeaderMap::new();
        headers(&mut map);
        let policy = map[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(policy.matches("sha256-").count(), 2);
        // What closes the element would end the text that the hash is of.
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
    }
}
