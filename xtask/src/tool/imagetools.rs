//! docker buildx imagetools: whether a registry has a reference, with the login that docker has.

use std::time::Duration;

use crate::process::Call;

/// Prints the manifest of a reference as the registry gives it, and fails where it does not.
pub fn inspect(reference: &str, deadline: Duration) -> Call {
    let mut call = Call::new(["docker", "buildx", "imagetools", "inspect", "--raw", reference]);
    call.deadline = deadline;
    call
}

/// What a refusal comes down to: the end of its last line.
pub fn last_words(stderr: &str) -> String {
    let line = stderr
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_cut_to_its_last_words() {
        let said =
            "ERROR: failed to do request: Head \"x\": dial tcp: lookup r on 10.0.0.1:53: no such host\n";
        assert_eq!(last_words(said), "no such host");
        assert_eq!(
            last_words("x\nERROR: 429 Too Many Requests\n\n"),
            "429 Too Many Requests"
        );
        assert_eq!(last_words(""), "no reason given");
    }
}
