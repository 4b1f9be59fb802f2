//! CBOR (RFC 8949) to JSON and back, as far as CloudWatch uses it.

use serde_json::{Map, Number, Value};

/// Tag of seconds since 1970.
const EPOCH: u64 = 1;

/// Ends what is of unknown length.
const BREAK: u8 = 0xff;

/// Returns the value, without tags; none if it is not CBOR.
pub fn decode(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    read(&mut rest)
}

fn read(rest: &mut &[u8]) -> Option<Value> {
    let first = take(rest, 1)?[0];
    let (major, detail) = (first >> 5, first & 0x1f);
    let argument = match detail {
        0..=23 => Some(u64::from(detail)),
        24..=27 => {
            let bytes = take(rest, 1 << (detail - 24))?.iter();
            Some(bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        }
        31 => None,
        _ => return None,
    };
    let mut n = 0;
    // Whether there is another part of a text, a list or a map.
    let mut another = |rest: &mut &[u8]| {
        n += 1;
        match argument {
            Some(length) => n <= length,
            None if rest.first() == Some(&BREAK) => take(rest, 1).is_none(),
            None => true,
        }
    };
    Some(match major {
        0 => argument?.into(),
        1 => (-1 - i64::try_from(argument?).ok()?).into(),
        2 | 3 => {
            let mut text = String::new();
            if let Some(length) = argument {
                text += &String::from_utf8_lossy(take(rest, usize::try_from(length).ok()?)?);
            } else {
                while another(rest) {
                    text += read(rest)?.as_str()?;
                }
            }
            text.into()
        }
        4 => {
            let mut items = Vec::new();
            while another(rest) {
                items.push(read(rest)?);
            }
            items.into()
        }
        5 => {
            let mut members = Map::new();
            while another(rest) {
                let name = read(rest)?;
                members.insert(name.as_str()?.to_owned(), read(rest)?);
            }
            members.into()
        }
        6 => read(rest)?,
        _ => match detail {
            20 | 21 => (detail == 21).into(),
            22 | 23 => Value::Null,
            26 => f64::from(f32::from_bits(argument? as u32)).into(),
            27 => f64::from_bits(argument?).into(),
            _ => return None,
        },
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Returns the bytes of a value; a number whose name ends in `Timestamp` is tagged as a time.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(0xf6),
        Value::Bool(yes) => bytes.push(0xf4 + u8::from(*yes)),
        Value::Number(number) => write_number(number, bytes),
        Value::String(text) => {
            head(3, text.len() as u64, bytes);
            bytes.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, bytes);
            items.iter().for_each(|item| write(item, bytes));
        }
        Value::Object(members) => {
            head(5, members.len() as u64, bytes);
            for (name, member) in members {
                write(&name.as_str().into(), bytes);
                if member.is_number() && name.ends_with("Timestamp") {
                    head(6, EPOCH, bytes);
                }
                write(member, bytes);
            }
        }
    }
}

fn write_number(number: &Number, bytes: &mut Vec<u8>) {
    if let Some(positive) = number.as_u64() {
        head(0, positive, bytes);
    } else if let Some(negative) = number.as_i64() {
        head(1, !negative as u64, bytes);
    } else {
        bytes.push(0xfb);
        bytes.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes());
    }
}

/// Writes kind and argument; a long one always in eight bytes, which readers accept as they do fewer.
fn head(major: u8, argument: u64, bytes: &mut Vec<u8>) {
    if argument < 24 {
        bytes.push(major << 5 | argument as u8);
    } else {
        bytes.push(major << 5 | 0x1b);
        bytes.extend_from_slice(&argument.to_be_bytes());
    }
}

#[test]
fn what_is_written_is_read() {
    let value = serde_json::json!({
        "a": [1, -1, 1000, -1000, 1.5, true, false, null], "long": "x".repeat(300), "StateUpdatedTimestamp": 1.0,
    });
    assert_eq!(decode(&encode(&value)), Some(value));
}

#[test]
fn unknown_lengths_and_nonsense_are_read_too() {
    // {_ "a": [_ 1, 2], "b": (_ "x", "y"), "c": 1(1.5 as f32)}
    let bytes = b"\xbf\x61a\x9f\x01\x02\xff\x61b\x7f\x61x\x61y\xff\x61c\xc1\xfa\x3f\xc0\x00\x00\xff";
    assert_eq!(
        decode(bytes),
        Some(serde_json::json!({"a": [1, 2], "b": "xy", "c": 1.5}))
    );
    for n in 0..bytes.len() {
        assert_eq!(decode(&bytes[..n]), None, "{n} bytes");
    }
    assert_eq!(decode(b"\xff"), None);
}
