//! A service's Dockerfile out of another service's: the part that all of them share stays word for word, in the
//! rest one name takes the other's place.

use super::Identity;

/// The last of the stages that every Dockerfile shares.
const LAST_SHARED: &str = "libraries";

/// The new service's Dockerfile out of `text`, which is `model`'s. `description` is for the image's label.
///
/// # Errors
/// In words, what `text` lacks to be a model.
pub(super) fn derive(
    model: &Identity,
    text: &str,
    new: &Identity,
    description: &str,
) -> Result<String, String> {
    let start =
        own_part(text).ok_or_else(|| format!("no stage `{LAST_SHARED}` with another one after it"))?;
    let (shared, own) = text.split_at(start);
    // Its first line names the image; every other line of it is the same everywhere.
    let (title, shared) = shared.split_once('\n').unwrap_or((shared, ""));
    let (title, _) = replaced(title, &model.image, &new.image);
    let own = with_label(&renamed(model, own, new)?, "description", description)?;
    Ok(format!("{title}\n{shared}{own}"))
}

/// Where the part of a service's own begins (bytes): at the stage after the last shared one, with its comment.
fn own_part(text: &str) -> Option<usize> {
    let mut start = None;
    let mut at = 0;
    let mut shared_ended = false;
    for line in text.split_inclusive('\n') {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_stage = words.first() == Some(&"FROM");
        if is_stage && shared_ended {
            return start.or(Some(at));
        }
        let is_text = words.is_empty() || line.starts_with('#');
        start = if is_text { start.or(Some(at)) } else { None };
        shared_ended |= is_stage && words.last() == Some(&LAST_SHARED);
        at += line.len();
    }
    None
}

fn renamed(model: &Identity, own: &str, new: &Identity) -> Result<String, String> {
    let (text, paths) = replaced(own, &format!("/{}", model.name), &format!("/{}", new.name));
    if paths == 0 {
        return Err(format!("no path with the name of {}", model.name));
    }
    let text = with_label(&text, "title", &new.image)?;
    let (text, exposed) = replaced(
        &text,
        &format!("EXPOSE {}", model.port),
        &format!("EXPOSE {}", new.port),
    );
    if exposed == 0 {
        return Err(format!("no line `EXPOSE {}`", model.port));
    }
    Ok(text)
}

/// Puts `new` in place of each `old` that is not the beginning of a longer word, and counts them.
fn replaced(text: &str, old: &str, new: &str) -> (String, usize) {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c));
    let mut parts = text.split(old);
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut count = 0;
    for rest in parts {
        let longer = goes_on(rest);
        out.push_str(if longer { old } else { new });
        out.push_str(rest);
        count += usize::from(!longer);
    }
    (out, count)
}

/// The text with another value for `org.opencontainers.image.<label>="..."`.
fn with_label(text: &str, label: &str, value: &str) -> Result<String, String> {
    let key = format!("org.opencontainers.image.{label}=\"");
    let parts = text
        .split_once(&key)
        .and_then(|(before, rest)| Some((before, rest.split_once('"')?.1)));
    let (before, after) = parts.ok_or_else(|| format!("no label `{key}...\"`"))?;
    Ok(format!("{before}{key}{value}\"{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "# The image acme-data. Targets: prod.\n#\n# The same in /data and everywhere.\n\n\
        FROM rust AS cook\nRUN cook /data\n\nFROM cook AS libraries\nRUN compile\n\n# Its own.\nFROM libraries AS build\n\
        COPY services/data services/data\nRUN install release/data /out/data; ls /data-dir\n\nFROM base AS prod\n\
        LABEL org.opencontainers.image.title=\"acme-data\" \\\n      org.opencontainers.image.description=\"Old words\"\n\
        COPY /out/data /data\nEXPOSE 8001\nCMD [\"/data\", \"healthcheck\"]\nENTRYPOINT [\"/data\"]\n";

    fn identity(name: &str, port: u16) -> Identity {
        Identity {
            name: name.to_owned(),
            image: format!("acme-{name}"),
            port,
        }
    }

    fn derived(model: &str) -> Result<String, String> {
        derive(
            &identity("data", 8001),
            model,
            &identity("night-watch", 8004),
            "Watches by night",
        )
    }

    #[test]
    fn the_shared_part_stays_and_the_rest_is_renamed() {
        insta::assert_snapshot!(derived(MODEL).unwrap(), @r#"
        # The image acme-night-watch. Targets: prod.
        #
        # The same in /data and everywhere.

        FROM rust AS cook
        RUN cook /data

        FROM cook AS libraries
        RUN compile

        # Its own.
        FROM libraries AS build
        COPY services/night-watch services/night-watch
        RUN install release/night-watch /out/night-watch; ls /data-dir

        FROM base AS prod
        LABEL org.opencontainers.image.title="acme-night-watch" \
              org.opencontainers.image.description="Watches by night"
        COPY /out/night-watch /night-watch
        EXPOSE 8004
        CMD ["/night-watch", "healthcheck"]
        ENTRYPOINT ["/night-watch"]
        "#);
    }

    #[test]
    fn a_file_that_is_no_model_says_what_it_lacks() {
        let lacks = |old: &str, other: &str| derived(&MODEL.replace(old, other)).unwrap_err();
        assert!(lacks("AS libraries", "AS shared").contains("no stage `libraries`"));
        assert!(lacks("EXPOSE 8001", "EXPOSE 80010").contains("no line `EXPOSE 8001`"));
        assert!(lacks("image.title", "image.name").contains("image.title"));
        assert!(lacks("/data", "/other").contains("no path with the name of data"));
    }
}
