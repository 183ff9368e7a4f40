//! Which engine is meant, as the docker command would mean it.

use super::*;

/// A folder of docker's configuration with one context.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(name: &str, meta: &str) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(&format!("contexts/meta/{}/meta.json", hash::of(name)), meta);
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, variables: &[(&str, &str)]) -> Result<Choice, Failure> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Choice::read(value, self.0.path())
    }
}

fn meta(host: &str) -> String {
    format!(
        r#"{{"Name":"far","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":false}}}}}}"#
    )
}

#[test]
fn the_order_is_that_of_the_docker_command() {
    let folder = Folder::with("far", &meta("tcp://10.0.0.5:2376"));
    folder.write("config.json", r#"{"auths":{},"currentContext":"far"}"#);
    let shown = |variables: &[(&str, &str)]| folder.read(variables).unwrap().address.shown();
    assert_eq!(shown(&[]), "tcp://10.0.0.5:2376", "the current context");
    assert_eq!(shown(&[("DOCKER_CONTEXT", "default")]), LOCAL);
    assert_eq!(
        shown(&[("DOCKER_CONTEXT", ""), ("DOCKER_HOST", "")]),
        "tcp://10.0.0.5:2376"
    );
    let both = [("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "unix:///x.sock")];
    assert_eq!(shown(&both), "unix:///x.sock");
    let empty = Folder(tempfile::tempdir().unwrap());
    assert!(empty.read(&[]).unwrap().is_unnamed());
}

#[test]
fn programs_are_handed_the_same_engine() {
    let folder = Folder::with("far", &meta("tcp://10.0.0.5:2376"));
    let handed = |variables: &[(&str, &str)]| folder.read(variables).unwrap().handed();
    assert_eq!(
        handed(&[("DOCKER_CONTEXT", "far")]),
        [("DOCKER_CONTEXT", "far".to_owned())]
    );
    assert_eq!(handed(&[]), [("DOCKER_CONTEXT", "default".to_owned())]);
    assert_eq!(
        handed(&[("DOCKER_HOST", "tcp://h")]),
        [],
        "they read it themselves"
    );
}

#[test]
fn an_engine_is_told_with_who_named_it() {
    let folder = Folder::with("far", &meta("ssh://me@build.example"));
    let choice = folder.read(&[("DOCKER_CONTEXT", "far")]).unwrap();
    assert_eq!(
        choice.words(),
        "ssh://me@build.example, named by the context 'far' (DOCKER_CONTEXT)"
    );
    assert_eq!(choice.address.host(), Some("build.example"));
    let secret = folder
        .read(&[("DOCKER_HOST", "tcp://me:sesame@10.0.0.5")])
        .unwrap();
    assert_eq!(secret.words(), "tcp://10.0.0.5:2375, named by DOCKER_HOST");
}

#[test]
fn addresses_are_read_as_docker_writes_them() {
    let read = |text: &str| address(text, false, "x").map(|address| address.shown());
    for (text, shown) in [
        ("unix:///a b/c.sock", "unix:///a b/c.sock"),
        ("tcp://h", "tcp://h:2375"),
        ("h:1", "tcp://h:1"),
        ("tcp://[fd00::1]:2376/", "tcp://[fd00::1]:2376"),
        ("ssh://me@h:22", "ssh://me@h:22"),
    ] {
        assert_eq!(read(text).unwrap(), shown);
    }
    assert_eq!(address("tcp://h", true, "x").unwrap().shown(), "tcp://h:2376");
    for text in ["tcp://", "tcp://h:no", "npipe:////./pipe/x", "ssh://", "fd://"] {
        let failure = read(text).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage, "{text}");
    }
    let secret = read("ssh://me:sesame@h").unwrap_err();
    assert!(!secret.what.contains("sesame"), "{}", secret.what);
}

#[test]
fn certificates_come_from_where_the_docker_command_looks() {
    let folder = Folder::with("far", &meta("tcp://h"));
    folder.write("certs/ca.pem", "x");
    let certs = folder.0.path().join("certs").display().to_string();
    let host = ("DOCKER_HOST", "tcp://h");
    let tls = |variables: &[(&str, &str)]| folder.read(variables).unwrap().tls;
    assert_eq!(
        tls(&[host, ("DOCKER_CERT_PATH", &certs)]),
        None,
        "encrypts nothing alone"
    );
    let with = tls(&[host, ("DOCKER_CERT_PATH", &certs), ("DOCKER_TLS_VERIFY", "1")]).unwrap();
    assert!(with.verifies && with.ca.is_some() && with.cert.is_none());
    assert!(!tls(&[host, ("DOCKER_TLS", "1")]).unwrap().verifies);
    let far = [("DOCKER_CONTEXT", "far")];
    assert_eq!(tls(&far), None);
    for name in ["ca", "cert", "key"] {
        folder.write(
            &format!("contexts/tls/{}/docker/{name}.pem", hash::of("far")),
            "x",
        );
    }
    let with = tls(&far).unwrap();
    assert!(with.verifies && with.key.is_some());
    assert_eq!(folder.read(&far).unwrap().address.shown(), "tcp://h:2376");
}

#[test]
fn a_faulty_context_is_named_by_file_and_key() {
    let far = [("DOCKER_CONTEXT", "far")];
    let refused = |meta: &str| {
        let failure = Folder::with("far", meta).read(&far).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        failure.what
    };
    assert!(refused("{half").contains("meta.json: "));
    assert!(refused(&meta("gopher://h")).contains("meta.json: Endpoints.docker.Host: "));
    assert!(refused(r#"{"Name":"far"}"#).contains("Endpoints.docker: absent"));
    assert!(refused(r#"{"Name":"near"}"#).contains("Name: 'near'"));
    let absent = Folder(tempfile::tempdir().unwrap()).read(&far).unwrap_err();
    assert!(
        absent
            .what
            .starts_with("there is no docker context 'far' (DOCKER_CONTEXT)")
    );
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("config.json", "{\"currentContext\": 7}");
    assert!(folder.read(&[]).unwrap_err().what.contains("config.json"));
}
