//! Versions as programs print them: found in a text, compared by number.

/// Major, minor, patch.
pub(super) type Version = (u64, u64, u64);

/// The first `N.N[.N]` in what a program said, whatever stands around it (`v0.13.1+ds1`, `Docker version 26.1.5, build`).
pub(super) fn find(text: &str) -> Option<Version> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.filter(|word| word.contains('.')).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse::<u64>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
    })
}

/// As a person writes it.
pub(super) fn shown((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_as_programs_print_them() {
        assert_eq!(
            find("Docker version 26.1.5+dfsg1, build a72d7cd"),
            Some((26, 1, 5))
        );
        assert_eq!(
            find("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3"),
            Some((0, 13, 1))
        );
        assert_eq!(find("Docker Compose version v2.26"), Some((2, 26, 0)));
        assert_eq!(find("Version: dev"), None);
        assert_eq!(find("a. b .5 end."), None);
    }

    #[test]
    fn comparison_is_by_number() {
        assert!(find("0.9.9") < find("0.13.0"));
        assert_eq!(shown((0, 13, 1)), "0.13.1");
    }
}
