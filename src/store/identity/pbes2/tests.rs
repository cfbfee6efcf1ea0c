/// Writes a value with its tag and length.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    let mut der = if value.len() < 0x80 {
        vec![tag, low]
    } else {
        vec![tag, 0x82, high, low]
    };
    der.extend(value);
    der
}

use super::*;
fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn oid(digits: &str) -> Vec<u8> {
    tlv(0x06, ObjectIdentifier::new_unwrap(digits).as_bytes())
}

fn integer(number: u64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(number.to_be_bytes());
    while bytes.len() > 1 && bytes[0] == 0 && bytes[1] < 0x80 {
        bytes.remove(0);
    }
    tlv(0x02, &bytes)
}

/// An encrypted key with this way from passphrase to key.
fn sealed(kdf: Vec<u8>) -> Vec<u8> {
    let cipher = sequence(&[oid("2.16.840.1.101.3.4.1.42"), tlv(0x04, &[0; 16])]);
    let scheme = sequence(&[oid("1.2.840.113549.1.5.13"), sequence(&[kdf, cipher])]);
    sequence(&[scheme, tlv(0x04, &[0; 32])])
}

fn by_pbkdf2(rounds: u64, prf: &str) -> Vec<u8> {
    let prf = sequence(&[oid(prf), tlv(0x05, &[])]);
    let parameters = sequence(&[tlv(0x04, b"salt"), integer(rounds), prf]);
    sealed(sequence(&[oid("1.2.840.113549.1.5.12"), parameters]))
}

fn by_scrypt(cost: u64, block_size: u64, lanes: u64) -> Vec<u8> {
    let numbers = [cost, block_size, lanes].map(integer).concat();
    let parameters = sequence(&[tlv(0x04, b"salt"), numbers]);
    sealed(sequence(&[oid("1.3.6.1.4.1.11591.4.11"), parameters]))
}

fn fault(der: &[u8]) -> Locked {
    decrypt_key(der, &Passphrase::from("secret")).unwrap_err()
}

const SHA224: &str = "1.2.840.113549.2.8";
const SHA256: &str = "1.2.840.113549.2.9";

#[test]
fn a_way_that_is_affordable_is_gone() {
    assert_eq!(fault(&by_pbkdf2(1, SHA256)), Locked::Passphrase);
    assert_eq!(fault(&by_scrypt(2, 1, 1)), Locked::Passphrase);
    assert_eq!(fault(&by_scrypt(1 << 14, 8, 1)), Locked::Passphrase);
}

/// A damaged file must not keep the daemon busy for hours or out of memory.
#[test]
fn a_way_without_end_is_not_gone() {
    for der in [
        by_pbkdf2(0, SHA256),
        by_pbkdf2(u64::from(ROUNDS_LIMIT) + 1, SHA256),
        by_pbkdf2(1 << 40, SHA256),
        by_scrypt(0, 8, 1),
        by_scrypt(3, 8, 1),
        by_scrypt(1 << 14, 0, 1),
        by_scrypt(1 << 14, 8, 0),
        by_scrypt(1 << 40, 8, 1),
        by_scrypt(1 << 63, 8, 1),
        by_scrypt(1 << 14, 8, 17),
    ] {
        assert_eq!(fault(&der), Locked::Damaged, "{der:02x?}");
    }
}

#[test]
fn what_is_not_known_is_named() {
    let named = fault(&by_pbkdf2(1, SHA224));
    assert_eq!(named, Locked::Scheme(format!("the algorithm {SHA224}")));
    let scheme = sequence(&[oid("1.2.840.113549.1.5.3"), {
        sequence(&[tlv(0x04, &[0; 8]), integer(1)])
    }]);
    let named = fault(&sequence(&[scheme, tlv(0x04, &[0; 32])]));
    assert_eq!(named, Locked::Scheme("DES".to_owned()));
}

#[test]
fn what_is_no_encrypted_key_is_damaged() {
    let whole = by_pbkdf2(1, SHA256);
    for end in 0..whole.len() {
        assert_eq!(fault(&whole[..end]), Locked::Damaged, "{end}");
    }
    assert_eq!(fault(&[whole, vec![0]].concat()), Locked::Damaged);
}

/// A passphrase that leaves a good padding by chance is still the wrong one.
#[test]
fn no_other_passphrase_of_many_opens_a_key() {
    let der = by_pbkdf2(1, SHA256);
    for number in 0..2000 {
        let passphrase = Passphrase::from(number.to_string().as_str());
        let fault = decrypt_key(&der, &passphrase).unwrap_err();
        assert_eq!(fault, Locked::Passphrase, "{number}");
    }
}
