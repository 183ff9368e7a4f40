//! A fixture: a small service with an image of its own, good but for the one thing that a gate must catch. Pure
//! text here; `checkout.rs` writes it down.

use serde_json::{Value, json};

/// Which crates a binary says that it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// It was not built with cargo-auditable.
    Nothing,
    ItselfAlone,
    All,
}

/// A service of a fixture checkout. `name` is package, binary and compose service; `image` its repository.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub name: String,
    pub image: String,
    /// How the program misbehaves (`tests/fixtures/service.rs`).
    pub mode: &'static str,
    pub budget: &'static str,
    /// The Dockerfile's USER line; empty for none.
    pub user: &'static str,
    pub calls: Vec<String>,
    pub needs: Vec<String>,
    /// Inline TOML, e.g. `{ vault = "degrade" }`.
    pub on_loss: &'static str,
    pub licence: &'static str,
    /// Crates that it depends on, and of which the checkout holds empty ones: name, version.
    pub crates: Vec<(&'static str, &'static str)>,
    /// What of them its binary lists.
    pub lists: Lists,
    /// Listens on its own network's address alone, as a service should.
    pub own_address: bool,
    pub dockerfile: bool,
    /// Text of the Dockerfile -> what stands there instead.
    pub edits: Vec<(&'static str, String)>,
    /// Labels of the image: `name=value`.
    pub labels: Vec<String>,
    /// Files of the image: path -> text.
    pub files: Vec<(&'static str, String)>,
}

impl Fixture {
    /// A good one.
    pub fn new(name: &str) -> Self {
        Fixture {
            name: name.to_owned(),
            image: format!("horme-test-{name}"),
            mode: "good",
            budget: "16 MB",
            user: "USER 65532:65532",
            calls: Vec::new(),
            needs: Vec::new(),
            on_loss: "",
            licence: "Apache-2.0",
            crates: Vec::new(),
            lists: Lists::All,
            own_address: true,
            dockerfile: true,
            edits: Vec::new(),
            labels: Vec::new(),
            files: Vec::new(),
        }
    }

    pub fn manifest(&self) -> String {
        let on_loss = match self.on_loss {
            "" => String::new(),
            table => format!("on_loss = {table}\n"),
        };
        let crates: Vec<String> = self
            .crates
            .iter()
            .map(|(name, version)| format!("{name} = {{ path = \"../../crates/{name}-{version}\" }}\n"))
            .collect();
        format!(
            "[package]\nname = \"{0}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"{1}\"\n\n\
             [package.metadata.image]\nname = \"{2}\"\nport = 8000\nbudget = \"{3}\"\ncalls = {4:?}\nneeds = {5:?}\n\
             {on_loss}\n[dependencies]\n{6}",
            self.name,
            self.licence,
            self.image,
            self.budget,
            self.calls,
            self.needs,
            crates.concat()
        )
    }

    pub fn lock_entry(&self) -> String {
        let mut names: Vec<String> = self
            .crates
            .iter()
            .map(|(name, _)| format!(" \"{name}\",\n"))
            .collect();
        names.sort();
        let dependencies = match names.is_empty() {
            true => String::new(),
            false => format!("dependencies = [\n{}]\n", names.concat()),
        };
        format!(
            "\n[[package]]\nname = \"{}\"\nversion = \"0.1.0\"\n{dependencies}",
            self.name
        )
    }

    /// With a folder that its user owns, and perhaps more of the Dockerfile after it.
    pub fn with_data(mut self, more: &str) -> Self {
        let data = format!(
            "COPY --chown=65532:65532 bin/{} /data/copy\n{more}COPY --link bin",
            self.name
        );
        self.edits.push(("COPY --link bin", data));
        self
    }

    pub fn image_file(&self) -> String {
        let copies = self
            .files
            .iter()
            .map(|(path, _)| format!("COPY bin/{}.files/{path} /{path}\n", self.name));
        let labels: Vec<String> = self.labels.iter().map(|label| format!(" {label}")).collect();
        let text = format!(
            "FROM scratch AS dev\nFROM scratch AS ci\nFROM scratch AS prod\nARG IMAGE_VERSION=none\nARG IMAGE_REVISION=none\n\
             LABEL org.opencontainers.image.version=\"$IMAGE_VERSION\" org.opencontainers.image.revision=\"$IMAGE_REVISION\"{labels}\n\
             ENV MODE={mode} REVISION=$IMAGE_REVISION\n{copies}COPY --link bin/{name} /{name}\n{user}\n\
             HEALTHCHECK CMD [\"/{name}\", \"probe\", \"--timeout-ms\", \"500\", \"tcp://127.0.0.1:8000\"]\nENTRYPOINT [\"/{name}\"]\n",
            labels = labels.concat(),
            copies = copies.collect::<String>(),
            name = self.name,
            mode = self.mode,
            user = self.user
        );
        self.edits
            .iter()
            .fold(text, |text, (from, to)| text.replace(from, to))
    }

    /// Its entry in the compose file.
    pub fn compose(&self) -> Value {
        let mut networks = json!({ &self.name: { "aliases": [format!("own.{}", self.name)] } });
        for provider in self.calls.iter().chain(&self.needs) {
            networks[provider] = json!({});
        }
        let host = match self.own_address {
            true => format!("own.{}", self.name),
            false => "0.0.0.0".to_owned(),
        };
        json!({
            "image": format!("{}:latest", self.image),
            "build": { "context": "..", "dockerfile": format!("docker/Dockerfile.{}", self.name) },
            "expose": ["8000"],
            "read_only": true,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "pids_limit": 128,
            "mem_limit": "128m",
            "cpus": 1.0,
            "restart": "always",
            "environment": { "HOST": host },
            "networks": networks,
        })
    }

    /// What cargo-auditable would have written into its binary (the section `.dep-v0`, before it is packed).
    pub fn listed(&self) -> Option<Value> {
        let crates = match self.lists {
            Lists::Nothing => return None,
            Lists::ItselfAlone => &[],
            Lists::All => self.crates.as_slice(),
        };
        let own = json!({ "name": self.name, "version": "0.1.0", "source": "local", "root": true,
            "dependencies": (1..=crates.len()).collect::<Vec<_>>() });
        let others = crates
            .iter()
            .map(|(name, version)| json!({ "name": name, "version": version, "source": "local" }));
        Some(json!({ "packages": std::iter::once(own).chain(others).collect::<Vec<_>>() }))
    }
}
