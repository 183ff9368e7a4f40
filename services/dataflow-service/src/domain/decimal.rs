//! Decimals: exact numbers, whose form and digits are checked here and never counted on as floating point.

use serde_json::Number;

/// Characters, and the exponent, that a decimal may have. NUMERIC takes more, and then answers megabytes.
const LONGEST: usize = 400;
/// Digits that a JSON number keeps: it is read as 64 bits of floating point, unless it is whole and fits 64 bits.
const EXACT_DIGITS: usize = 15;

/// `[-+]digits[.digits][e[-+]digits]`: no infinities, and nothing that takes pages to write down.
pub(super) fn is_one(text: &str) -> bool {
    let (_, whole, part, exponent) = parts(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= LONGEST
        && digits(whole)
        && part.is_none_or(digits)
        && exponent
            .parse::<i32>()
            .is_ok_and(|exponent| exponent.unsigned_abs() as usize <= LONGEST)
}

/// A JSON number as text, where no digit of it was lost on the way in.
///
/// # Errors
/// It may have been rounded.
pub(super) fn text_of(number: &Number) -> Result<String, String> {
    let text = number.to_string();
    let is_whole = number.is_i64() || number.is_u64();
    // A whole number that does not fit 64 bits has become one of floating point.
    let is_exact = || {
        let small = number.as_f64().is_some_and(|number| number.abs() < 1e15);
        small && significant(&text).1.len() <= EXACT_DIGITS
    };
    if is_whole || is_exact() {
        Ok(text)
    } else {
        Err(format!(
            "must be sent as text: a number of JSON keeps {EXACT_DIGITS} digits"
        ))
    }
}

/// Whether two decimals are the same number: `1.50` and `15e-1` are.
pub(super) fn same(one: &str, other: &str) -> bool {
    significant(one) == significant(other)
}

/// The sign, the mantissa without a point, and the exponent.
fn parts(text: &str) -> (bool, &str, Option<&str>, &str) {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (mantissa, None),
    };
    (text.starts_with('-'), whole, part, exponent)
}

/// Whether it is negative, its digits without zeros around them, and the exponent of the last one.
fn significant(text: &str) -> (bool, String, i64) {
    let (is_negative, whole, part, exponent) = parts(text);
    let part = part.unwrap_or_default();
    let all = format!("{whole}{part}");
    let digits = all.trim_end_matches('0');
    let cut = all.len() as i64 - digits.len() as i64 - part.len() as i64;
    match digits.trim_start_matches('0') {
        "" => (false, String::new(), 0),
        digits => (
            is_negative,
            digits.to_owned(),
            exponent.parse::<i64>().unwrap_or_default() + cut,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_may_have_been_rounded_is_refused() {
        let read = |text: &str| text_of(&serde_json::from_str(text).unwrap());
        for exact in [
            "0",
            "-12.5",
            "0.1",
            "123456789012.345",
            "1e-7",
            "9007199254740993",
            "18446744073709551615",
        ] {
            assert!(read(exact).is_ok(), "{exact}");
        }
        assert_eq!(read("9007199254740993").unwrap(), "9007199254740993");
        for rounded in [
            "1234567890123.4567",
            "0.12345678901234567",
            "18446744073709551616",
            "100000000000000000001",
        ] {
            let why = read(rounded).unwrap_err();
            assert!(why.contains("as text") && !why.contains(&rounded[..5]), "{why}");
        }
    }

    #[test]
    fn one_number_has_many_spellings() {
        for (one, other) in [
            ("1.50", "15e-1"),
            ("-0", "0.000"),
            ("100", "1E2"),
            ("+0.07", "7e-2"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1.5", "-1.5"), ("10", "1"), ("0.1", "0.01")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
