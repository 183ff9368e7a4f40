//! Nothing of a secret is left, in whatever form it was written; everything else is.

use serde_json::json;

use super::*;

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect()).unwrap()
}

/// Masks and asserts that no piece of the secret is left that is long enough to tell something.
fn masked(secret: &str, text: &str) -> String {
    let masked = redactor(&[secret]).text(text);
    assert!(masked.contains(MASK), "{text} -> {masked}");
    masked
}

#[test]
fn a_known_value_is_found_in_every_form() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let secret = "päss/wörd+\"q\" <&_x>";
    let json = serde_json::to_string(&json!({ "x": secret })).unwrap();
    let twice = serde_json::to_string(&json).unwrap();
    let forms = [
        json,
        twice,
        "a=p%C3%A4ss%2Fw%C3%B6rd%2B%22q%22%20%3C%26%5Fx%3E;".to_owned(),
        "a=p%c3%a4ss%2fw%c3%b6rd%2b%22q%22%20%3c%26_x%3e;".to_owned(),
        "a=p%C3%A4ss%2Fw%C3%B6rd%2B%22q%22+%3C%26_x%3E;".to_owned(),
        escape(secret),
        "p&auml;ss".to_owned() + secret,
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
    ];
    for form in forms {
        let masked = masked(secret, &form);
        for left in ["w\u{f6}rd", "rd+", "rd%2", "_x", "&amp;", "cy93"] {
            assert!(!masked.contains(left), "{form} -> {masked}");
        }
    }
}

use crate::report::escape;

#[test]
fn in_base64_a_secret_is_found_behind_anything() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let secret = "a1b2c3d4e5f6a7b8c9d0";
    for before in ["", "u", "us", "user:", "admin:", "root::"] {
        let encoded = STANDARD.encode(format!("{before}{secret}!"));
        let masked = masked(secret, &format!("x {encoded} y"));
        assert!(masked.len() < 20, "{before}: {masked}");
    }
}

#[test]
fn a_secret_is_found_over_line_breaks() {
    let secret = "0123456789abcdefghijABCDEFGHIJ";
    for text in [
        "v: 0123456789abcde\n    fghijABCDEFGHIJ.",
        "v: 0123456789abcde\r\nfghijABCDEFGHIJ.",
        "2026-11-21T18:08:59.019079941Z 0123456789abcde\n2026-11-21T18:08:59.01907994Z fghijABCDEFGHIJ",
        r#"{"v":"0123456789abcde\nfghijABCDEFGHIJ"}"#,
        r#"{"v":"{\"w\":\"0123456789abcde\\nfghijABCDEFGHIJ\"}"}"#,
    ] {
        let masked = masked(secret, text);
        assert!(!masked.contains("abcde") && !masked.contains("ABCDE"), "{masked}");
    }
    let lines = "first-line-of-it\nsecond-line-of-it";
    let json = json!({ "file": lines }).to_string();
    assert_eq!(masked(lines, &json), r#"{"file":"***"}"#);
}

#[test]
fn short_values_are_masked_as_words_and_shorter_ones_never_by_themselves() {
    let short = redactor(&["ab", "geheim"]);
    assert_eq!(short.text("abba insgeheim geheim, ab"), "abba insgeheim ***, ab");
    assert_eq!(short.text("DB_PASSWORD=ab x"), "DB_PASSWORD=*** x");
}

#[test]
fn overlapping_secrets_leave_nothing_between_them() {
    let both = redactor(&["abcdefghij", "ghijklmnop"]);
    assert_eq!(both.text("<abcdefghijklmnop>"), "<***>");
}

#[test]
fn what_reads_like_a_secret_is_masked_unknown() {
    let masked = |text: &str| redactor(&[]).text(text);
    for (text, expected) in [
        (
            "postgres://app:hunter2@db:5432/app",
            "postgres://app:***@db:5432/app",
        ),
        (
            "https://token@host/x and http://host/@x",
            "https://***@host/x and http://host/@x",
        ),
        ("redis://:p@ss@cache", "redis://:***@cache"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("> Cookie: session=1; theme=dark\nnext", "> Cookie: ***\nnext"),
        (
            r#"{"authorization":"Basic dXNlcjpw","n":1}"#,
            r#"{"authorization":"***","n":1}"#,
        ),
        (
            r#"{\"set-cookie\":\"a=b\",\"n\":1}"#,
            r#"{\"set-cookie\":\"***\",\"n\":1}"#,
        ),
        ("sent bearer aB3defghijk to it", "sent bearer *** to it"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln y", "x *** y"),
        ("key AKIAIOSFODNN7EXAMPLE.", "key ***."),
        ("DB_PASSWORD=hunter2 MODE=good", "DB_PASSWORD=*** MODE=good"),
        ("token: abc", "token: ***"),
        (
            r#""POSTGRES_PASSWORD": "a b \" c", "x": 1"#,
            r#""POSTGRES_PASSWORD": "***", "x": 1"#,
        ),
        (r#"{\"client_secret\":\"a b\"}"#, r#"{\"client_secret\":\"***\"}"#),
        ("SIGNING_KEY='a b'", "SIGNING_KEY='***'"),
        ("SENTRY_DSN=abc", "SENTRY_DSN=***"),
        ("SMTP_PASS=x MYSQL_PWD=y", "SMTP_PASS=*** MYSQL_PWD=***"),
        (r#"{"signingKey":"abc","n":1}"#, r#"{"signingKey":"***","n":1}"#),
        ("ENCRYPTIONKEY=abc", "ENCRYPTIONKEY=***"),
        (
            "DB_PASSWORD=it's-my-secret MODE=good",
            "DB_PASSWORD=*** MODE=good",
        ),
        (
            "A_TOKEN=(x B_TOKEN=[y C_TOKEN={z",
            "A_TOKEN=*** B_TOKEN=*** C_TOKEN=***",
        ),
        (r#""a_token": "(x", "b""#, r#""a_token": "***", "b""#),
        ("API_TOKEN=${TOKEN:-abc}", "API_TOKEN=***"),
        (
            "msg=token=abc path=/x?api_key=def",
            "msg=token=*** path=/x?api_key=***",
        ),
        (r#"{"msg":"token=abc","n":1}"#, r#"{"msg":"token=***","n":1}"#),
        (
            "redis-cli --user probe --pass probe ping",
            "redis-cli --user probe --pass *** ping",
        ),
    ] {
        assert_eq!(masked(text), expected);
    }
}

#[test]
fn what_is_no_secret_stays() {
    let text = "DATABASE_URL_FILE=/run/secrets/database_url TOKEN_TTL=3600 POSTGRES_PASSWORD_FILE=/run/secrets/x\n\
                revision 0123456789abcdef0123456789abcdef01234567 sha256:9f86d081884c7d659a2feaa0c55ad015\n\
                - **secrets in the log** (passed): 2 settings given, none repeated\n\
                http://own.a:8000/ready 3ms, postgres://own.db:5432/app, basic authentication\n\
                \"Secrets\": [], \"token\": null, \"key\": \"3f2a\", API_TOKEN=${TOKEN}\n\
                violates foreign key constraint; --secrets-dir x";
    assert_eq!(redactor(&["a-known-secret"]).text(text), text);
}

#[test]
fn keys_are_masked_with_and_without_an_end_in_text_and_in_json() {
    let none = redactor(&[]);
    let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA+/\nabc=\n-----END EC PRIVATE KEY-----";
    assert_eq!(
        none.text(&format!("a\n{pem}\nb")),
        "a\n-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----\nb"
    );
    let json = json!({ "cert": pem, "after": "kept" }).to_string();
    let masked = none.text(&json);
    assert!(
        !masked.contains("MHcC") && masked.contains(r#""after":"kept""#),
        "{masked}"
    );
    let open = none.text("-----BEGIN PRIVATE KEY-----\nMHcCAQEEIA\nAAAA\nand: more");
    assert_eq!(open, "-----BEGIN PRIVATE KEY-----***: more");
    assert_eq!(none.text("expected -----BEGIN here"), "expected -----BEGIN here");
}

#[test]
fn json_is_masked_by_its_names_and_stays_json() {
    let mut value = json!({
        "Env": ["A_TOKEN=has space, and more", "MODE=good", "URL=amqp://u:p4ss@h/x"],
        "Cmd": ["redis-cli", "--pass", "probe", "ping", "--api-key=abc"],
        "pin_password": 12345678, "passwords": ["aaa111bbb", { "port": 1 }], "token_count": 12,
        "set_token": "[x", "coloured": "geheim\u{1b}[1mnis",
        "password": "x y", "nested": [{ "apiKey": "q\"r", "port": 1 }],
        "key-with-geheimnis": true,
    });
    redactor(&["geheimnis"]).json(&mut value);
    let expected = json!({
        "Env": ["A_TOKEN=***", "MODE=good", "URL=amqp://u:***@h/x"],
        "Cmd": ["redis-cli", "--pass", "***", "ping", "--api-key=***"],
        "pin_password": "***", "passwords": ["***", { "port": 1 }], "token_count": 12,
        "set_token": "***", "coloured": "***",
        "password": "***", "nested": [{ "apiKey": "***", "port": 1 }],
        "key-with-***": true,
    });
    assert_eq!(value, expected);
}

#[test]
fn bytes_that_are_no_text_hide_nothing() {
    let known = redactor(&["hunter2hunter2"]);
    let coloured = b"a \x1b[31mhunter2\x1b[0mhunter2\x1b[0m \xff\xfe\0 \x07 b\r\nc\r";
    assert_eq!(
        known.bytes(coloured),
        "a *** \u{fffd}\u{fffd}\u{2400} \u{2407} b\nc\n"
    );
}

#[test]
fn a_value_holds_more_than_itself() {
    let derived = derived("postgres://horme:0011aabb@own.postgres:5432/horme\n");
    assert!(derived.contains(&"0011aabb".to_owned()), "{derived:?}");
    let users = super::derived("user default on ~* &* +@all >c4ch3\nuser probe on >probe -@all");
    assert!(users.contains(&"c4ch3".to_owned()), "{users:?}");
    for name in ["default", "probe"] {
        assert!(!users.contains(&name.to_owned()), "{users:?}");
    }
    let lines = super::derived("a \"quoted\" line\nanother\n");
    assert!(lines.contains(&"a \"quoted\" line".to_owned()), "{lines:?}");
    assert!(super::derived("  \n").is_empty());
}

#[test]
fn of_a_variable_all_a_password_or_nothing_is_secret() {
    assert_eq!(hidden("DB_PASSWORD", "12345678"), Hidden::All);
    let passwords = |value: &str| match hidden("DB_URL", value) {
        Hidden::Passwords(found) => found.join(" "),
        other => format!("{other:?}"),
    };
    assert_eq!(passwords("postgres://u:p@h"), "p");
    assert_eq!(passwords("postgres://u:p@h/db?application_name=svc@node1"), "p");
    assert_eq!(passwords("amqp://u:p1@h1,amqp://u:p2@h2"), "p1 p2");
    assert_eq!(passwords("postgres://u:p%40ss%2Fw@h/db"), "p%40ss%2Fw p@ss/w");
    assert_eq!(passwords("https://example.com/@team"), "Nothing");
    for value in ["(Tr0ub4dor-and-3", "[Tr0ub4dor", "{Tr0ub4dor"] {
        assert_eq!(hidden("ADMIN_PASSWORD", value), Hidden::All, "{value}");
    }
    for (name, value) in [
        ("MAX_TOKENS", "4096"),
        ("DB_PASSWORD_FILE", "/run/x"),
        ("REQUIRE_PASSWORD", "true"),
        ("API_TOKEN", ""),
        ("MODE", "good"),
    ] {
        assert_eq!(hidden(name, value), Hidden::Nothing, "{name}={value}");
    }
}

#[test]
fn megabytes_are_masked_in_time() {
    let known = redactor(&["a-secret-of-some-length"]);
    let line = "2026-11-21T10:00:00Z INFO request_id=1 path=/x a-secret-of-some-length done\n";
    let begun = std::time::Instant::now();
    let masked = known.text(&line.repeat(50_000));
    assert!(!masked.contains("of-some"));
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    println!("{:?} for 4 MB", begun.elapsed());
}
