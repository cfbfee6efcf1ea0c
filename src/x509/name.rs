//! Host names in the one form in which they are compared.

/// Returns a host name in lower case, without a dot at its end, and with labels that are not ASCII
/// as the DNS has them (IDNA, RFC 5890 §2.3.2.1).
///
/// What is no name at all stays as it is, and equals nothing that a client can ask for.
pub(crate) fn normal_name(name: &str) -> String {
    let name = name.trim_end_matches('.');
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let (star, rest) = match name.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", name),
    };
    match idna::domain_to_ascii(rest) {
        Ok(ascii) => format!("{star}{ascii}"),
        Err(_) => name.to_owned(),
    }
}

/// Returns whether a name that a certificate holds, which may begin with a star for one label
/// (RFC 6125 §6.4.3), stands for `asked`.
pub(crate) fn stands_for(held: &str, asked: &str) -> bool {
    let (held, asked) = (normal_name(held), normal_name(asked));
    match held.strip_prefix("*.") {
        Some(parent) => asked
            .split_once('.')
            .is_some_and(|(_, rest)| rest == parent),
        None => held == asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for (name, normal) in [
            ("DB.example.com.", "db.example.com"),
            ("B\u{fc}cher.example", "xn--bcher-kva.example"),
            ("*.B\u{dc}CHER.example", "*.xn--bcher-kva.example"),
            ("*.example", "*.example"),
            ("xn--bcher-kva.EXAMPLE", "xn--bcher-kva.example"),
        ] {
            assert_eq!(normal_name(name), normal);
        }
    }

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(stands_for("*.example.com", "db.example.com"));
        assert!(!stands_for("*.example.com", "example.com"));
        assert!(!stands_for("*.example.com", "a.db.example.com"));
        assert!(stands_for("xn--bcher-kva.example", "b\u{fc}cher.example"));
    }
}
