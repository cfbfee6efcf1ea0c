//! What people name by mistake: each is told for what it is, and what is told to do about it helps.

use super::{openssl::Desk, *};

/// A certificate of another key, so that the key file alone is at fault.
fn cert() -> String {
    sample().1.cert
}

#[test]
fn keys_that_cannot_be_served_are_told_by_their_kind() {
    let Some(desk) = Desk::empty() else { return };
    let makes = [
        (
            "genpkey -algorithm ED448 -out k",
            "the PRIVATE KEY of line 1 is a key for Ed448, which is not served",
        ),
        (
            "genpkey -algorithm X25519 -out k",
            "is a key for X25519, which is not served",
        ),
        (
            "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 \
             -pkeyopt rsa_pss_keygen_md:sha256 -out k",
            "is a key for RSA-PSS, which is not served",
        ),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out k",
            "is RSA of 1024 bits; keys of 2048 to 8192 bits are served",
        ),
        ("genrsa -traditional -out k 1024", "is RSA of 1024 bits"),
        (
            "ecparam -name secp256k1 -genkey -noout -out k",
            "the EC PRIVATE KEY of line 1 is on the curve secp256k1, which TLS clients do not",
        ),
        (
            "ecparam -name brainpoolP384r1 -genkey -noout -out k",
            "is on the curve brainpoolP384r1",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp224r1 -out k",
            "is on the curve P-224",
        ),
    ];
    for (make, expected) in makes {
        desk.openssl(make);
        // OpenSSL finds nothing wrong with the key itself.
        desk.openssl("pkey -in k -noout");
        let reason = reasons(&cert(), &desk.text("k"));
        assert!(reason.contains(expected), "{make}: {reason}");
    }
}

#[test]
fn dsa_is_told_in_both_its_forms() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("dsaparam -genkey -noout -out k 1024");
    desk.openssl("pkey -in k -traditional -out old");
    for name in ["k", "old"] {
        let reason = reasons(&cert(), &desk.text(name));
        assert!(reason.contains("is a key for DSA"), "{name}: {reason}");
    }
}

#[test]
fn a_key_that_is_too_long_is_told_by_its_length() {
    // OpenSSL takes a while to make such a key, and its modulus is all that counts here.
    let modulus = [&[0x02, 0x82, 0x08, 0x01, 0x00][..], &[0xff; 2048]].concat();
    let body = [&[2, 1, 0][..], &modulus, &[2, 1, 3]].concat();
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    let der = [&[0x30, 0x82, high, low][..], &body].concat();
    let text = data_encoding::BASE64.encode(&der);
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----\n");
    let reason = reasons(&cert(), &key);
    assert!(reason.contains("is RSA of 16384 bits"), "{reason}");
}

#[test]
fn a_curve_that_is_written_out_is_named_as_the_cause() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("ecparam -name prime256v1 -genkey -noout -param_enc explicit -out k");
    desk.certify();
    let (cert, key) = (desk.text("c"), desk.text("k"));
    let reason = reasons(&cert, &key);
    assert!(reason.contains("written out as parameters"), "{reason}");
    assert!(!reason.contains("does not match"), "{reason}");
    std::fs::write(desk.path("OLD"), &key).unwrap();
    desk.mend(&reason, "");
    // The key is mended; the certificate still has to be issued again for it.
    let reason = reasons(&cert, &desk.text("NEW"));
    assert!(
        reason.contains("cert: the curve of the certificate's key is written out"),
        "{reason}"
    );
    assert!(reason.contains("issued again"), "{reason}");
    std::fs::rename(desk.path("NEW"), desk.path("k")).unwrap();
    desk.certify();
    desk.expected();
}

#[test]
fn a_certificate_whose_point_is_compressed_is_told_from_one_of_another_key() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("ecparam -name prime256v1 -genkey -noout -out whole");
    desk.openssl("ec -in whole -conv_form compressed -out k");
    desk.certify();
    let cert = desk.text("c");
    for key in ["k", "whole"] {
        let reason = reasons(&cert, &desk.text(key));
        assert!(reason.starts_with("cert: it belongs to"), "{key}: {reason}");
    }
    let reason = reasons(&cert, &desk.text("k"));
    std::fs::copy(desk.path("k"), desk.path("OLD")).unwrap();
    desk.mend(&reason, "");
    std::fs::rename(desk.path("NEW"), desk.path("k")).unwrap();
    desk.certify();
    desk.expected();
    // That of another key is still one of another key.
    desk.openssl("ecparam -name prime256v1 -genkey -noout -out other");
    let reason = reasons(&cert, &desk.text("other"));
    assert!(reason.contains("does not match"), "{reason}");
}

/// The certificate decides what clients see, and the key signs the same.
#[test]
fn a_key_with_a_curve_that_is_written_out_serves_a_certificate_that_names_it() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("ec -in k -param_enc explicit -out written");
    let cert = desk.text("c");
    let proved = judge(&cert, &desk.text("written")).unwrap();
    assert_eq!(proved.pair.leaf(), desk.expected().pair.leaf());
}

#[test]
fn a_java_keystore_is_told_however_it_is_named() {
    let Some(desk) = Desk::new() else { return };
    if !desk.has("keytool") {
        return;
    }
    desk.run(
        "keytool",
        "-genkeypair -keyalg RSA -alias db -dname CN=db -storetype JKS -keystore OLD \
         -storepass s3cret -keypass s3cret",
    );
    let old = desk.bytes("OLD");
    let named = Case {
        cert: &old,
        ..Case::one("")
    };
    let reason = named.reasons();
    assert!(reason.contains("it is a Java keystore"), "{reason}");
    assert_eq!(Desk::store(&old).reasons(), reason);
    let command = reason.split('`').nth(1).unwrap();
    let arguments = command.strip_prefix("keytool ").unwrap();
    let passwords = "-srcstorepass s3cret -deststorepass s3cret";
    desk.run("keytool", &format!("{arguments} {passwords}"));
    let new = desk.bytes("NEW");
    Desk::store(&new).passphrase("s3cret").judge().unwrap();
}

#[test]
fn a_pair_that_does_not_match_is_told_with_both_kinds() {
    let Some(desk) = Desk::new() else { return };
    let cert = desk.text("c");
    desk.openssl("genrsa -out k 2048");
    assert_eq!(
        reasons(&cert, &desk.text("k")),
        "key: the private key (rsa-2048) does not match the certificate (ecdsa-p256)"
    );
}

#[test]
fn files_that_are_exchanged_are_told_once() {
    let (_, leaf) = sample();
    assert_eq!(
        reasons(&leaf.key, &leaf.cert),
        "cert: it holds the private key, and the file of `key` the certificate; exchange the two"
    );
}

#[test]
fn der_is_told_by_what_it_is_and_converted_as_told() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("crl2pkcs7 -nocrl -certfile c -outform DER -out p7");
    for (make, key_file) in [
        ("x509 -in c -outform DER -out OLD", false),
        ("crl2pkcs7 -nocrl -certfile c -outform DER -out OLD", false),
        ("pkey -in k -outform DER -out OLD", true),
        ("ec -in k -outform DER -out OLD", true),
        ("rsa -in r -outform DER -out OLD -traditional", true),
    ] {
        desk.openssl("genrsa -out r 2048");
        desk.openssl(make);
        let (cert, key) = (desk.bytes("c"), desk.bytes("k"));
        let old = desk.bytes("OLD");
        let case = |cert, key| Case {
            cert,
            key: Some(key),
            ..Case::one("")
        };
        let reason = if key_file {
            case(&cert, &old).reasons()
        } else {
            case(&old, &key).reasons()
        };
        assert!(reason.contains("in DER, not PEM"), "{make}: {reason}");
        desk.mend(&reason, "");
        assert!(desk.text("NEW").contains("-----BEGIN "), "{make}");
    }
}

#[test]
fn other_blocks_are_told_with_what_to_do() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("req -new -key k -subj /CN=db -out request");
    desk.openssl("crl2pkcs7 -nocrl -certfile c -out p7");
    desk.openssl("x509 -in c -trustout -addtrust serverAuth -out trusted");
    desk.openssl("pkey -in k -pubout -out public");
    desk.openssl("ecparam -name prime256v1 -out curve");
    let (cert, key) = (desk.text("c"), desk.text("k"));
    for (name, expected) in [
        ("request", "name the certificate that it answered with"),
        ("p7", "take its certificates out with"),
        ("trusted", "that is OpenSSL's own form"),
    ] {
        let text = desk.text(name);
        let reason = reasons(&text, &key);
        assert!(reason.contains(expected), "{name}: {reason}");
        if reason.contains('`') {
            std::fs::write(desk.path("OLD"), &text).unwrap();
            desk.mend(&reason, "");
            judge(&desk.text("NEW"), &key).unwrap();
        }
    }
    for (name, expected) in [
        ("public", "that is the public half"),
        ("curve", "that is only the name of a curve"),
    ] {
        let reason = reasons(&cert, &desk.text(name));
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[test]
fn a_key_in_the_form_of_openssh_is_converted_as_told() {
    let Some(desk) = Desk::new() else { return };
    if !desk.has("ssh-keygen") {
        return;
    }
    desk.run("ssh-keygen", "-q -t ecdsa -N s3cret -f COPY");
    let reason = reasons(&cert(), &desk.text("COPY"));
    assert!(reason.contains("in the form of OpenSSH"), "{reason}");
    let command = reason.split('`').nth(1).unwrap();
    let arguments = command.strip_prefix("ssh-keygen ").unwrap();
    desk.run("ssh-keygen", &format!("{arguments} -P s3cret -N s3cret"));
    desk.openssl("pkey -in COPY -passin pass:s3cret -noout");
}

#[test]
fn line_ends_blanks_and_notes_do_not_matter() {
    let (_, leaf) = sample();
    let forms: [fn(&str) -> String; 4] = [
        |text| text.replace('\n', "\r\n"),
        |text| text.replace('\n', "\n    "),
        |text| format!("\u{feff}{text}"),
        |text| format!("# a note\nBag Attributes\n    localKeyID: 01\n{text}"),
    ];
    for form in forms {
        judge(&form(&leaf.cert), &form(&leaf.key)).unwrap();
    }
    let wide: Vec<u8> = leaf
        .cert
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let reason = Case {
        cert: &wide,
        ..Case::two("", &leaf.key)
    };
    let reason = reason.reasons();
    assert!(reason.contains("it is UTF-16LE text"), "{reason}");
    assert!(reason.contains("`iconv -f UTF-16LE -t UTF-8"), "{reason}");
}

#[test]
fn authorities_and_lists_are_told_by_what_they_are_too() {
    use crate::{
        config::OnUnknown,
        store::{bundle, lists},
        tls::testing::der_of,
    };
    let (ca, leaf) = sample();
    let list = ca.list(&[&leaf], 1, 2090);
    let now = Timestamp::now();
    let roots = |text: &[u8]| bundle::roots(text, now).unwrap_err().to_string();
    let lists = |text: &[u8]| {
        let checked = lists::crls(text, &[ca.der()], OnUnknown::Accept, now);
        checked.unwrap_err().to_string()
    };
    let wide: Vec<u8> = list.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let table = [
        (
            roots(ca.der().as_bytes()),
            "it is a certificate in DER, not PEM; convert it with `openssl x509 -inform DER",
        ),
        (
            lists(der_of(&list).as_bytes()),
            "it is a revocation list in DER, not PEM; convert it with `openssl crl -inform DER",
        ),
        (lists(&wide), "it is UTF-16BE text"),
        (
            roots(list.as_bytes()),
            "it holds no certificate, only: X509 CRL; that is a revocation list",
        ),
        (
            lists(ca.pem.as_bytes()),
            "it holds no revocation list (X509 CRL), only: CERTIFICATE",
        ),
    ];
    for (reason, expected) in table {
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

/// The warning is true: what such an authority has signed is not believed.
#[test]
fn an_authority_whose_curve_is_written_out_is_warned_of() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("ecparam -name prime256v1 -genkey -noout -param_enc explicit -out cak");
    desk.openssl("req -x509 -key cak -subj /CN=ca -days 9 -out ca");
    let checked = crate::store::bundle::roots(&desk.bytes("ca"), Timestamp::now()).unwrap();
    let told = checked.warnings.join("; ");
    assert!(told.contains("written out as parameters"), "{told}");
    desk.openssl("req -new -key k -subj /CN=db -addext subjectAltName=DNS:db -out r");
    desk.openssl("x509 -req -in r -CA ca -CAkey cak -CAcreateserial -copy_extensions copy -out c");
    let chain = desk.text("c") + &desk.text("ca");
    let odd = judge(&chain, &desk.text("k")).unwrap().cert_warnings;
    assert!(odd.join("; ").contains("do not lead"), "{odd:?}");
}
