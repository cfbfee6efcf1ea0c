//! Whatever the order of the blocks in a file, the pair is the same.

use proptest::prelude::*;

use super::*;

/// A chain of four, with its key, in PEM.
struct Chain {
    /// The leaf first.
    certificates: Vec<String>,
    key: String,
}

impl Chain {
    fn new() -> Self {
        let root = Ca::new("root");
        let upper = root.intermediate("upper");
        let lower = upper.intermediate("lower");
        let leaf = lower.server(&["db.example.com"]);
        Self {
            certificates: vec![leaf.cert, lower.pem, upper.pem, root.pem],
            key: leaf.key,
        }
    }

    fn digest(&self) -> [u8; 32] {
        let whole = self.certificates.concat();
        judge(&whole, &self.key).unwrap().pair.digest()
    }
}

#[test]
fn a_chain_out_of_order_is_sent_in_order_and_told() {
    let chain = Chain::new();
    let told = |order: &[usize]| {
        let texts = order.iter().map(|at| chain.certificates[*at].as_str());
        let proved = judge(&texts.collect::<String>(), &chain.key).unwrap();
        assert_eq!(proved.pair.digest(), chain.digest());
        proved.cert_warnings.join("; ")
    };
    assert_eq!(told(&[0, 1, 2, 3]), "");
    for order in [[3, 2, 1, 0], [1, 0, 2, 3], [0, 2, 1, 3]] {
        let told = told(&order);
        assert!(told.contains("its certificates are not in order"), "{told}");
        assert!(!told.contains("do not lead"), "{told}");
    }
}

#[test]
fn what_does_not_belong_to_the_chain_comes_last_and_is_told() {
    let chain = Chain::new();
    let stranger = Ca::new("stranger").pem;
    let text = [&stranger, &chain.certificates[0], &chain.certificates[1]];
    let proved = judge(&text.map(String::as_str).concat(), &chain.key).unwrap();
    let subjects: Vec<_> = proved
        .pair
        .chain
        .iter()
        .map(|it| {
            certificate::parse(it.as_bytes())
                .unwrap()
                .subject()
                .to_string()
        })
        .collect();
    assert_eq!(subjects, ["CN=db.example.com", "CN=lower", "CN=stranger"]);
    let told = proved.cert_warnings.join("; ");
    assert!(told.contains("do not lead from it"), "{told}");
}

#[test]
fn a_missing_intermediate_is_told() {
    let chain = Chain::new();
    let text = [0, 2, 3].map(|at| chain.certificates[at].as_str()).concat();
    let told = judge(&text, &chain.key).unwrap().cert_warnings.join("; ");
    assert!(told.contains("do not lead from it to its issuer"), "{told}");
}

#[test]
fn certificates_that_name_each_other_as_issuers_end_the_row() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let crossed = [two.sign(&one), one.sign(&two)];
    let leaf = one.server(&["db"]);
    let text = format!("{}{}{}", crossed[0], crossed[1], leaf.cert);
    let proved = judge(&text, &leaf.key).unwrap();
    assert_eq!(proved.pair.chain.len(), 3);
    assert_eq!(proved.pair.leaf(), leaf.pair().leaf());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Certificates and key in one file, in any order, with anything between them.
    #[test]
    fn any_order_of_blocks_gives_the_same_pair(
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
        notes in prop::collection::vec("(Bag Attributes\n    localKeyID: 01 \n|subject=CN = db\n|# note\n|\n){0,3}", 6),
        crlf in any::<bool>(),
        mark in any::<bool>(),
    ) {
        let chain = Chain::new();
        let blocks: Vec<_> = chain.certificates.iter().chain([&chain.key]).collect();
        let mut text = notes[5].clone();
        for (at, note) in order.iter().zip(&notes) {
            text.push_str(blocks[*at]);
            text.push_str(note);
        }
        if crlf {
            text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        if mark {
            text.insert(0, '\u{feff}');
        }
        let proved = Case::one(&text).judge().unwrap();
        prop_assert_eq!(proved.pair.digest(), chain.digest());
    }
}
