//! The layers of an image, and how many of them are its base's: where a file that was found comes from.

use serde::{Deserialize, Deserializer, Serialize};

use crate::fingerprint::dockerfile;

/// In the order in which they lie upon each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// SHA-256 of each, unpacked.
    ids: Vec<String>,
    /// How many of the lowest come with the base image.
    base: usize,
}

/// The part of Trivy's report that describes the image.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Described {
    #[serde(deserialize_with = "null_is_none")]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    #[serde(rename = "DiffIDs", deserialize_with = "null_is_none")]
    diff_ids: Vec<String>,
    #[serde(deserialize_with = "null_is_none")]
    image_config: ImageConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageConfig {
    #[serde(deserialize_with = "null_is_none")]
    history: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    empty_layer: bool,
}

fn null_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl Layers {
    /// From Trivy's report and the Dockerfile of the image: BuildKit writes one entry of history for each
    /// instruction, so that all entries before those are the base's.
    ///
    /// # Errors
    /// A report that is none.
    pub fn read(report: &str, dockerfile: &str) -> serde_json::Result<Self> {
        let Described { metadata } = serde_json::from_str(report)?;
        let history = metadata.image_config.history;
        let own = dockerfile::shipped(dockerfile).words.len();
        let base = &history[..history.len().saturating_sub(own)];
        Ok(Layers {
            ids: metadata.diff_ids,
            base: base.iter().filter(|entry| !entry.empty_layer).count(),
        })
    }

    /// The place of a layer, from 1 on.
    pub fn number(&self, id: &str) -> Option<usize> {
        Some(self.ids.iter().position(|known| known == id)? + 1)
    }

    /// Whether a layer comes with the base image.
    pub fn is_base(&self, number: Option<usize>) -> bool {
        number.is_some_and(|number| number <= self.base)
    }

    /// Where a file comes from, as a reader is told.
    pub fn words(&self, path: &str, number: Option<usize>) -> String {
        match number {
            Some(_) if self.is_base(number) => format!("the base image's file {path}"),
            Some(number) => format!("file {path} in layer {number}"),
            None => format!("file {path}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two layers, the lower one the base's.
    pub(crate) fn sample() -> Layers {
        let report = r#"{"Metadata":{"DiffIDs":["sha256:a","sha256:b"],"ImageConfig":{"history":[
            {"created_by":"ADD x"},{"created_by":"CMD x","empty_layer":true},
            {"created_by":"ARG Y=1","empty_layer":true},{"created_by":"COPY a /a"},{"created_by":"USER 1","empty_layer":true}]}}}"#;
        Layers::read(report, "FROM base\nARG Y=1\nCOPY a /a\nUSER 1\n").unwrap()
    }

    #[test]
    fn a_file_is_of_the_base_or_of_a_layer_of_ours() {
        let layers = sample();
        let words = |id: &str| layers.words("/key", layers.number(id));
        assert_eq!(words("sha256:a"), "the base image's file /key");
        assert_eq!(words("sha256:b"), "file /key in layer 2");
        assert_eq!(words("sha256:c"), "file /key");
    }

    /// The history as BuildKit wrote it for an image of ours on the local base, and Trivy 0.68.2 reported it.
    #[test]
    fn a_real_history_parts_at_the_first_instruction_of_the_stage_that_ships() {
        let words = "COPY ENV- USER- WORKDIR ARG- ARG- ARG- LABEL- COPY USER- WORKDIR- EXPOSE- STOPSIGNAL- HEALTHCHECK- ENTRYPOINT-";
        let history: Vec<_> = words
            .split(' ')
            .map(|word| serde_json::json!({"created_by": word, "empty_layer": word.ends_with('-')}))
            .collect();
        let report = serde_json::json!({"Metadata": {"DiffIDs": ["a", "b", "c"], "ImageConfig": {"history": history}}});
        let text = "FROM rust AS build\nRUN x\nFROM distroless@sha256:1 AS prod\nARG A=1\nARG B=1\nARG C=1\nLABEL a=b \\\n  c=d\n\
                    COPY --link --from=build /out/a /a\nUSER 1:1\nWORKDIR /\nEXPOSE 80\nSTOPSIGNAL SIGTERM\n\
                    HEALTHCHECK --retries=3 \\\n  CMD [\"/a\"]\nENTRYPOINT [\"/a\"]\n";
        let layers = Layers::read(&report.to_string(), text).unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|id| layers.is_base(layers.number(id))),
            [true, true, false]
        );
    }

    #[test]
    fn a_real_report_places_its_secrets() {
        for report in [
            include_str!("../../../tests/captured/trivy-0.68.2/secrets-and-misconfigurations.json"),
            include_str!("../../../tests/captured/trivy-0.44.1/secrets.json"),
        ] {
            let layers = Layers::read(report, "").unwrap();
            let results = crate::tool::trivy::parse(report).unwrap().results;
            let with_secrets = results.iter().find(|result| !result.secrets.is_empty()).unwrap();
            let number = layers.number(&with_secrets.secrets[0].layer.diff_id);
            assert_eq!(
                layers.words(&with_secrets.target, number),
                "file /etc/aws.txt in layer 2"
            );
        }
    }

    #[test]
    fn an_image_on_nothing_has_no_base_and_what_is_absent_is_unknown() {
        let report =
            r#"{"Metadata":{"DiffIDs":["sha256:a"],"ImageConfig":{"history":[{},{"empty_layer":true}]}}}"#;
        let layers = Layers::read(report, "FROM scratch\nCOPY a /a\nUSER 1\n").unwrap();
        assert!(!layers.is_base(Some(1)));
        for report in [
            "{}",
            r#"{"Metadata":null}"#,
            r#"{"Metadata":{"DiffIDs":null,"ImageConfig":{"history":null}}}"#,
        ] {
            assert_eq!(Layers::read(report, "").unwrap(), Layers::default());
        }
        assert!(Layers::read("{", "").is_err());
    }
}
