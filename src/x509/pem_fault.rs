//! Why a text is not PEM.

/// Why a text is not a row of PEM blocks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemFault {
    #[error("it holds no PEM block")]
    NoBlock,
    #[error("it holds no PEM block, only comments")]
    Comments,
    #[error("it is DER, not PEM; convert it with openssl's -inform DER")]
    Der,
    #[error("it is {what} in DER, not PEM; convert it with `openssl {command} -in OLD -out NEW`")]
    DerOf {
        what: &'static str,
        command: &'static str,
    },
    #[error(
        "it is a request for a certificate; name the certificate that the authority answered with"
    )]
    DerRequest,
    #[error("it is a public key in DER; name the file with the private key")]
    DerPublicKey,
    #[error("it is DER, not PEM, and was cut off: it says that it is longer; write it again")]
    DerCutOff,
    #[error(
        "it is {encoding} text, which some editors and shells of Windows write; convert it with \
         `iconv -f {encoding} -t UTF-8 OLD > NEW`"
    )]
    Wide { encoding: &'static str },
    #[error(
        "it is a Java keystore; make it PKCS#12 with `keytool -importkeystore -srckeystore OLD \
         -destkeystore NEW -deststoretype pkcs12`, and name that by `pkcs12`"
    )]
    Keystore,
    #[error("it is a key for SSH in {form} own form; name the key of the certificate")]
    Ssh { form: &'static str },
    #[error("it is a public key for SSH; name the private key of the certificate")]
    SshPublic,
    #[error("it is base64 of a PEM file; decode it with `base64 -d OLD > NEW`")]
    TwiceEncoded,
    #[error("it is base64 as in a PEM file, but without its BEGIN and END lines")]
    Bare,
    #[error("it holds NUL bytes, as a file does that was not written to its end; write it again")]
    Zeros,
    #[error("line {line} writes its line breaks as \\n; write them out with `printf '%b'`")]
    Escaped { line: usize },
    #[error("the {label} block of line {line} has no END line; the file may have been cut off")]
    Unterminated { label: String, line: usize },
    #[error("line {line} ends a block that does not begin in this file")]
    StrayEnd { line: usize },
    #[error("the {label} block of line {line} is closed as {end}")]
    WrongEnd {
        label: String,
        line: usize,
        end: String,
    },
    #[error("line {line} is no complete BEGIN or END line; is a line break missing?")]
    BadMarker { line: usize },
    #[error("the {label} block of line {line} is damaged: it is not base64")]
    Garbled { label: String, line: usize },
}
