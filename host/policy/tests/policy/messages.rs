//! Reading one text out of a message, and a message out of its frame.

use flavor_policy::FieldPath;
use flavor_policy::grpc::{FrameError, unary_message};
use flavor_policy::protobuf::WireError;

/// A length-delimited field with a number below 16 and a short value.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
    bytes.extend_from_slice(value);
    bytes
}

fn read<'m>(path: &str, message: &'m [u8]) -> Result<Option<&'m str>, WireError> {
    path.parse::<FieldPath>().unwrap().last_text(message)
}

#[test]
fn texts_are_found_at_their_path() {
    let mut message = field(1, b"id-7");
    message.extend(field(
        5,
        &[field(1, b"token"), field(2, b"https://w")].concat(),
    ));
    assert_eq!(read("1", &message), Ok(Some("id-7")));
    assert_eq!(read("5.1", &message), Ok(Some("token")));
    assert_eq!(read("5.2", &message), Ok(Some("https://w")));
    assert_eq!(read("5.3", &message), Ok(None));
    assert_eq!(read("2", &message), Ok(None));
    assert_eq!(read("2.2", &message), Ok(None));
    assert_eq!(read("1", &[]), Ok(None));
}

#[test]
fn the_last_occurrence_counts_as_for_every_decoder() {
    let twice = [field(2, b"first"), field(2, b"last")].concat();
    assert_eq!(read("2", &twice), Ok(Some("last")));
    // A message split in two parts is one message.
    let split = [field(5, &field(2, b"kept")), field(5, &field(1, b"other"))].concat();
    assert_eq!(read("5.2", &split), Ok(Some("kept")));
    let replaced = [field(5, &field(2, b"old")), field(5, &field(2, b""))].concat();
    assert_eq!(read("5.2", &replaced), Ok(Some("")));
}

#[test]
fn other_fields_are_skipped_by_their_wire_type() {
    let message = [
        vec![
            1 << 3,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0x01,
        ],
        vec![2 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![3 << 3 | 5, 1, 2, 3, 4],
        field(4, b"text"),
    ]
    .concat();
    assert_eq!(read("4", &message), Ok(Some("text")));
}

#[test]
fn malformed_messages_are_errors() {
    let table: [(&[u8], WireError); 13] = [
        (&[0x80], WireError::Truncated),
        (&[1 << 3], WireError::Truncated),
        (&[1 << 3 | 1, 0, 0], WireError::Truncated),
        (&[1 << 3 | 5, 0, 0], WireError::Truncated),
        (&[1 << 3 | 2, 5, b'x'], WireError::Truncated),
        (
            &[
                1 << 3 | 2,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0x01,
            ],
            WireError::Truncated,
        ),
        (&[0xff; 10], WireError::Varint),
        (&[0x80; 11], WireError::Varint),
        (&[0x02, 0], WireError::FieldNumber),
        (&[0x82, 0x80, 0x80, 0x80, 0x10, 0], WireError::FieldNumber),
        (&[1 << 3 | 3], WireError::WireType),
        (&[1 << 3 | 7], WireError::WireType),
        (&[1 << 3, 7], WireError::NotDelimited(1)),
    ];
    for (message, fault) in table {
        assert_eq!(read("1", message), Err(fault), "{message:?}");
    }
    assert_eq!(read("1", &field(1, &[0xff])), Err(WireError::Utf8(1)));
    assert_eq!(
        read("1.1", &field(1, b"no message")),
        Err(WireError::WireType)
    );
    assert_eq!(read("1.2", &[1 << 3, 7]), Err(WireError::NotDelimited(1)));
}

#[test]
fn field_paths_have_one_to_eight_numbers() {
    for text in ["1", "5.2", "1.2.3.4.5.6.7.8", "536870911"] {
        let path: FieldPath = text.parse().unwrap();
        assert_eq!(path.to_string(), text);
    }
    for text in [
        "",
        "0",
        "1.",
        ".1",
        "1..2",
        "01",
        "-1",
        "+1",
        "536870912",
        "a",
        "1.2.3.4.5.6.7.8.9",
    ] {
        assert!(text.parse::<FieldPath>().is_err(), "{text}");
    }
}

#[test]
fn a_unary_body_is_one_plain_frame() {
    let frame = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
    assert_eq!(unary_message(&frame, 3), Ok(Some(b"abc".as_slice())));
    assert_eq!(unary_message(&[0, 0, 0, 0, 0], 0), Ok(Some(b"".as_slice())));
    for cut in 0..frame.len() {
        assert_eq!(unary_message(&frame[..cut], 3), Ok(None), "{cut}");
    }
    let long = Err(FrameError::TooLong {
        length: 3,
        limit: 2,
    });
    assert_eq!(unary_message(&frame, 2), long);
    assert_eq!(unary_message(&frame[..5], 2), long);
    assert_eq!(
        unary_message(&[1, 0, 0, 0, 0], 9),
        Err(FrameError::Compressed)
    );
    assert_eq!(
        unary_message(&[0, 0, 0, 0, 0, 0], 9),
        Err(FrameError::Surplus)
    );
    let huge = [0, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(unary_message(&huge, u64::MAX), Ok(None));
}
