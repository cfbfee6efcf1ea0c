//! Hello, frame, size limit: the only room that knows bincode.
//!
//! Each side first sends a [`Hello`], which is decoded by hand so that programs of different
//! versions can still tell each other so. Right behind it the client shows its [`Cookie`], in 32 bytes, and
//! the daemon answers with a [`Verdict`](super::verdict::Verdict). Everything after it is a frame: a big-endian `u32`
//! length and that many bytes of bincode. A length is checked against a limit before anything is
//! allocated for it, and memory grows with the bytes that arrive, not with the length they claim.
//!
//! The codec serves every private link of the daemon; each brings its own limit. [`encode`]
//! allocates its buffer once, in the right size, so a caller that puts secrets in one can wipe it.

use std::io::{self, Read, Write};

use bincode::Options as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{
    cookie::{self, Cookie},
    fixed,
};
use crate::facts::PROGRAM_VERSION;

/// The version of the messages in [`super`].
pub const PROTOCOL: u16 = 9;

/// The longest frame that the daemon takes, in bytes.
pub const MAX_FRAME: u64 = 1 << 20;

/// The longest frame that the daemon sends, in bytes: a status of tens of thousands of identities.
pub const MAX_RESPONSE: u64 = 128 << 20;

const MAGIC: [u8; 4] = *b"PRXD";
const HELLO_HEAD: usize = 7;
const MAX_VERSION: usize = 32;

/// Why bytes could not be read, written or understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A frame is longer than this link allows.
    #[error("a message of {length} bytes is longer than the {limit} allowed")]
    TooLarge {
        /// The length it has or claims.
        length: u64,
        /// The longest this link allows.
        limit: u64,
    },
    /// The other side closed the connection in the middle of a message.
    #[error("the connection ended in the middle of a message")]
    Truncated,
    /// The other side does not begin as proxyd and proxyctl do.
    #[error("the program that answers is not proxyd")]
    NotProxyd,
    /// The other side speaks another version of the protocol.
    #[error(
        "the other side is proxyd {their_version} and speaks protocol {theirs}, this program protocol {ours}"
    )]
    WrongProtocol {
        /// The other side's protocol version.
        theirs: u16,
        /// Ours.
        ours: u16,
        /// The other side's program version.
        their_version: String,
    },
    /// The bytes are no message, or a value is none that can be sent.
    #[error("a message could not be understood: {0}")]
    Codec(#[source] bincode::Error),
    /// The bytes are no message of the fixed part of the protocol.
    #[error("a message could not be understood: {0}")]
    Fixed(#[source] serde_json::Error),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Truncated
        } else {
            Self::Io(error)
        }
    }
}

/// The first bytes of a connection: who speaks, and which protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the messages that follow.
    pub protocol: u16,
    /// The version of the program, at most 32 bytes of printable ASCII.
    pub version: String,
}

impl Hello {
    /// Returns the hello of this program.
    #[must_use]
    pub fn ours() -> Self {
        Self {
            protocol: PROTOCOL,
            version: PROGRAM_VERSION.to_owned(),
        }
    }

    /// Returns the hello of a client that speaks only the fixed part of the protocol.
    #[must_use]
    pub fn fixed() -> Self {
        Self {
            protocol: fixed::PROTOCOL,
            ..Self::ours()
        }
    }

    /// Returns whether its sender speaks only the fixed part of the protocol.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.protocol == fixed::PROTOCOL
    }

    /// Returns the bytes to send: magic, protocol, length of the version, version.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let version: Vec<u8> = self.version.bytes().take(MAX_VERSION).collect();
        let length = u8::try_from(version.len()).unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.protocol.to_be_bytes());
        bytes.push(length);
        bytes.extend(version);
        bytes
    }

    /// Returns this hello if its sender and this program understand each other.
    pub fn accept(self) -> Result<Self, WireError> {
        if self.protocol == PROTOCOL {
            return Ok(self);
        }
        Err(WireError::WrongProtocol {
            theirs: self.protocol,
            ours: PROTOCOL,
            their_version: self.version,
        })
    }

    fn from_parts(protocol: u16, version: Vec<u8>) -> Result<Self, WireError> {
        let version = String::from_utf8(version).map_err(|_| WireError::NotProxyd)?;
        if version.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self { protocol, version })
        } else {
            Err(WireError::NotProxyd)
        }
    }
}

/// Returns the protocol and the length of the version text.
fn parse_hello_head(head: [u8; HELLO_HEAD]) -> Result<(u16, usize), WireError> {
    let [m0, m1, m2, m3, p0, p1, length] = head;
    let length = usize::from(length);
    if [m0, m1, m2, m3] != MAGIC || length > MAX_VERSION {
        return Err(WireError::NotProxyd);
    }
    Ok((u16::from_be_bytes([p0, p1]), length))
}

/// Reads the other side's hello, whatever its protocol: see [`Hello::accept`].
pub async fn read_hello<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Hello, WireError> {
    let mut head = [0; HELLO_HEAD];
    reader.read_exact(&mut head).await?;
    let (protocol, length) = parse_hello_head(head)?;
    let mut version = vec![0; length];
    reader.read_exact(&mut version).await?;
    Hello::from_parts(protocol, version)
}

/// The blocking twin of [`read_hello`].
pub fn read_hello_blocking<R: Read>(reader: &mut R) -> Result<Hello, WireError> {
    let mut head = [0; HELLO_HEAD];
    reader.read_exact(&mut head)?;
    let (protocol, length) = parse_hello_head(head)?;
    let mut version = vec![0; length];
    reader.read_exact(&mut version)?;
    Hello::from_parts(protocol, version)
}

/// Reads the cookie that a client shows behind its hello.
pub async fn read_cookie<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Cookie, WireError> {
    let mut bytes = Zeroizing::new([0; cookie::LENGTH]);
    reader.read_exact(bytes.as_mut()).await?;
    Ok(Cookie::from_bytes(&bytes))
}

fn codec(limit: u64) -> impl bincode::Options {
    bincode::DefaultOptions::new().with_limit(limit)
}

fn codec_error(error: bincode::Error, limit: u64, length: impl FnOnce() -> u64) -> WireError {
    match *error {
        bincode::ErrorKind::SizeLimit => WireError::TooLarge {
            length: length(),
            limit,
        },
        _ => WireError::Codec(error),
    }
}

/// Returns the body of the frame that carries `value`, at most `limit` bytes.
pub fn encode<T: Serialize>(value: &T, limit: u64) -> Result<Vec<u8>, WireError> {
    let length = || codec(u64::MAX).serialized_size(value).unwrap_or(u64::MAX);
    codec(limit)
        .serialize(value)
        .map_err(|error| codec_error(error, limit, length))
}

/// Returns the value in the body of a frame; bytes left over are an error.
pub fn decode<T: DeserializeOwned>(body: &[u8], limit: u64) -> Result<T, WireError> {
    codec(limit)
        .deserialize(body)
        .map_err(|error| codec_error(error, limit, || body.len() as u64))
}

fn frame_head(body: &[u8], limit: u64) -> Result<[u8; 4], WireError> {
    match u32::try_from(body.len()) {
        Ok(length) if u64::from(length) <= limit => Ok(length.to_be_bytes()),
        _ => Err(WireError::TooLarge {
            length: body.len() as u64,
            limit,
        }),
    }
}

fn frame_length(head: [u8; 4], limit: u64) -> Result<u32, WireError> {
    let length = u32::from_be_bytes(head);
    if u64::from(length) <= limit {
        return Ok(length);
    }
    Err(WireError::TooLarge {
        length: u64::from(length),
        limit,
    })
}

fn whole(body: Vec<u8>, length: u32) -> Result<Option<Vec<u8>>, WireError> {
    if body.len() as u64 == u64::from(length) {
        Ok(Some(body))
    } else {
        Err(WireError::Truncated)
    }
}

/// Reads the body of the next frame; `None` if the connection ended before one began.
///
/// Not cancel-safe: a frame half read is lost.
pub async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    limit: u64,
) -> Result<Option<Vec<u8>>, WireError> {
    let mut head = [0; 4];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..]).await?;
    let length = frame_length(head, limit)?;
    let mut body = Vec::new();
    reader
        .take(u64::from(length))
        .read_to_end(&mut body)
        .await?;
    whole(body, length)
}

/// The blocking twin of [`read_frame`].
pub fn read_frame_blocking<R: Read>(
    reader: &mut R,
    limit: u64,
) -> Result<Option<Vec<u8>>, WireError> {
    let mut head = [0; 4];
    if !read_first(reader, &mut head[..1])? {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..])?;
    let length = frame_length(head, limit)?;
    let mut body = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut body)?;
    whole(body, length)
}

/// Returns whether a byte came before the end.
fn read_first<R: Read>(reader: &mut R, byte: &mut [u8]) -> Result<bool, WireError> {
    loop {
        match reader.read(byte) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes a frame; the body is not copied on the way.
pub async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    body: &[u8],
    limit: u64,
) -> Result<(), WireError> {
    writer.write_all(&frame_head(body, limit)?).await?;
    writer.write_all(body).await?;
    Ok(writer.flush().await?)
}

/// The blocking twin of [`write_frame`].
pub fn write_frame_blocking<W: Write>(
    writer: &mut W,
    body: &[u8],
    limit: u64,
) -> Result<(), WireError> {
    writer.write_all(&frame_head(body, limit)?)?;
    writer.write_all(body)?;
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::control::{Request, Response};

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame_blocking(&mut bytes, body, MAX_FRAME).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        read_frame_blocking(&mut Cursor::new(bytes), MAX_FRAME)
    }

    fn read_async(bytes: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { read_frame(&mut &bytes[..], MAX_FRAME).await })
    }

    #[test]
    fn a_hello_survives_the_journey() {
        let bytes = Hello::ours().to_bytes();
        assert_eq!(&bytes[..4], b"PRXD");
        let read = read_hello_blocking(&mut Cursor::new(bytes)).unwrap();
        assert_eq!(read.accept().unwrap(), Hello::ours());
    }

    #[test]
    fn a_hello_of_another_protocol_names_both() {
        let bytes = b"PRXD\x00\x63\x059.1.0";
        let read = read_hello_blocking(&mut Cursor::new(bytes)).unwrap();
        let message = read.accept().unwrap_err().to_string();
        assert!(
            message.contains("9.1.0 and speaks protocol 99"),
            "{message}"
        );
    }

    #[test]
    fn other_greetings_are_not_proxyd() {
        for bytes in [
            &b"HTTP/1.1 400 Bad"[..],
            b"PRXD\x00\x01\x21",
            b"PRXD\x00\x01\x01\x1b",
        ] {
            let error = read_hello_blocking(&mut Cursor::new(bytes)).unwrap_err();
            assert!(matches!(error, WireError::NotProxyd), "{error}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_from_its_four_bytes() {
        let error = read(&[0xff; 4]).unwrap_err();
        assert!(
            matches!(error, WireError::TooLarge { length, .. } if length == u64::from(u32::MAX))
        );
        assert!(matches!(
            read_async(&[0xff; 4]),
            Err(WireError::TooLarge { .. })
        ));
    }

    #[test]
    fn half_a_frame_is_truncated_and_none_is_the_end() {
        let bytes = frame(b"hello");
        for cut in 1..bytes.len() {
            assert!(matches!(read(&bytes[..cut]), Err(WireError::Truncated)));
            assert!(matches!(
                read_async(&bytes[..cut]),
                Err(WireError::Truncated)
            ));
        }
        assert!(matches!(read(b""), Ok(None)));
        assert!(matches!(read_async(b""), Ok(None)));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut body = encode(&Request::Status, MAX_FRAME).unwrap();
        body.push(0);
        assert!(decode::<Request>(&body, MAX_FRAME).is_err());
    }

    #[test]
    fn a_value_beyond_the_limit_is_not_encoded() {
        let error = encode(&"x".repeat(100), 64).unwrap_err();
        assert!(
            matches!(
                error,
                WireError::TooLarge {
                    length: 101,
                    limit: 64
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_claimed_element_count_does_not_decide_the_allocation() {
        // Variant 3, then a vector that claims 2^60 strings.
        let body = [3, 253, 0, 0, 0, 0, 0, 0, 0, 16];
        assert!(decode::<Request>(&body, MAX_FRAME).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_value_or_an_error(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<Request>(&body, MAX_FRAME);
            let _ = decode::<Response>(&body, MAX_FRAME);
            let _ = read_hello_blocking(&mut Cursor::new(&body));
            let blocking = read(&body).ok();
            prop_assert_eq!(blocking, read_async(&body).ok());
        }

        #[test]
        fn a_request_survives_the_journey(
            command in prop::collection::vec(".{0,40}", 0..8), millis in any::<u64>()
        ) {
            let request = Request::SetOnExitFailure { command, timeout: Duration::from_millis(millis) };
            let bytes = frame(&encode(&request, MAX_FRAME).unwrap());
            let body = read(&bytes).unwrap().unwrap();
            prop_assert_eq!(decode::<Request>(&body, MAX_FRAME).unwrap(), request);
        }
    }
}
