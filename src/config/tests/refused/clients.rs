//! What is wrong about clients' certificates.

use super::{super::GOOD, one_problem};

#[test]
fn every_mistake_about_clients_is_found() {
    for (line, fragment) in [
        (
            "client_auth = { mode = \"required\" }",
            "`client_auth` has no `ca`",
        ),
        (
            "client_auth = { mode = \"optional\", crl = \"c\" }",
            "`client_auth` has no `ca`",
        ),
        (
            "client_auth = { ca = \"c\" }",
            "`client_auth` has no `mode`, so nothing",
        ),
        (
            "client_auth = { allow = [\"cn:a\"] }",
            "`client_auth` has no `mode`, so nothing",
        ),
        (
            "client_auth = { mode = \"off\", allow = [\"cn:a\"] }",
            "`allow` has no use while `client_auth` is off",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", allow = [] }",
            "this would let no client in",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", allow = [\"cn:a\", \"db1\"] }",
            "`db1` is no rule: write `dns:`",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", allow = [\"dns:a b\"] }",
            "`a b` is no DNS name",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", crl = [] }",
            "no file is named",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", crl = [\"l\", \"./l\"] }",
            "`/etc/proxyd/l` is named twice",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", crl = [\"\"] }",
            "this is empty",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", crl = 5 }",
            "expected a string or an array of strings",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", expired_crl = \"refuse\" }",
            "`expired_crl` has no use without `crl`",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", unknown_revocation = \"refuse\" }",
            "`unknown_revocation` has no use without `crl`",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", unscoped_crl = \"refuse\" }",
            "`unscoped_crl` has no use without `crl`",
        ),
        (
            "client_auth = { mode = \"optional\", ca = \"c\", crl = \"l\", expired_crl = \"deny\" }",
            "unknown value `deny`; known here: accept, refuse",
        ),
        (
            "tls = { resumption = \"on\" }",
            "unknown value `on`; known here: off, tickets",
        ),
    ] {
        one_problem(&format!("{GOOD}{line}\n"), 4, fragment);
    }
}
