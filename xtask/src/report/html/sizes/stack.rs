//! An image as a stack of parts that add up to its unpacked size: the layers of its base, and what its binary is
//! made of. Data alone.

use std::collections::BTreeMap;

use crate::gate::budget::anatomy::{Anatomy, BinaryPart, LayerPart};

/// How many crates have a colour of their own.
const NAMED: usize = 6;
/// A layer below this share of its image is shown with others of its kind.
const SMALL: u64 = 200;

/// What a part is; crates by their place among those that have a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Base,
    Crate(usize),
    Crates,
    NotRust,
    NoSymbol,
    /// Everything else that we put into it.
    Files,
}

impl Kind {
    pub(super) fn class(self) -> String {
        match self {
            Kind::Base => "s1".to_owned(),
            Kind::Crate(place) => format!("s{}", place + 2),
            Kind::Crates => "s8".to_owned(),
            Kind::NotRust => "plain".to_owned(),
            Kind::NoSymbol => "striped".to_owned(),
            Kind::Files => "plain".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// The name for a place where there is little room.
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) size_bytes: u64,
}

impl Part {
    fn new(name: impl Into<String>, kind: Kind, size_bytes: u64) -> Self {
        let name = name.into();
        Part {
            label: name.split(':').next().unwrap_or_default().to_owned(),
            name,
            kind,
            size_bytes,
        }
    }
}

/// The crates that are largest in all images together: each has one colour in every stack.
pub(super) fn named<'a>(anatomies: impl Iterator<Item = &'a Anatomy>) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let crates = anatomies.filter_map(|anatomy| anatomy.binary.as_ref());
    for part in crates.flat_map(|binary| &binary.crates) {
        *sums.entry(&part.name).or_default() += part.size_bytes();
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
    sums.into_iter()
        .take(NAMED)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The parts of an image from the left: base, crates, what of the binary is no crate's, other files of ours.
pub(super) fn stack(anatomy: &Anatomy, named: &[String]) -> Vec<Part> {
    let binary = anatomy
        .binary
        .as_ref()
        .and_then(|binary| Some((binary, home_of(anatomy, binary)?)));
    let is_base = |layer: &&LayerPart| layer.from == "base";
    let smallest = anatomy.unpacked_bytes / SMALL;
    let mut parts = layers(
        anatomy.layers.iter().filter(is_base),
        smallest,
        "base",
        Kind::Base,
    );
    if let Some((binary, _)) = binary {
        parts.extend(binary_parts(binary, named));
    }
    // Of the binary's own layer, the rest.
    let ours = anatomy
        .layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| !is_base(layer));
    let ours: Vec<LayerPart> = ours
        .map(|(place, layer)| match binary {
            Some((binary, home)) if home == place => LayerPart {
                unpacked_bytes: layer.unpacked_bytes - binary.size_bytes,
                created_by: "other files".to_owned(),
                ..layer.clone()
            },
            _ => layer.clone(),
        })
        .collect();
    parts.extend(layers(ours.iter(), smallest, "other files", Kind::Files));
    parts.retain(|part| part.size_bytes > 0);
    parts
}

/// The place of the layer that brings the binary; none where no layer can have brought all of it.
fn home_of(anatomy: &Anatomy, binary: &BinaryPart) -> Option<usize> {
    let file = anatomy.files.iter().find(|file| file.path == binary.path)?;
    let layer = anatomy.layers.get(file.layer)?;
    let is_home = layer.from != "base" && layer.unpacked_bytes >= binary.size_bytes;
    is_home.then_some(file.layer)
}

/// A part for each layer that is worth one, and one for the small ones.
fn layers<'a>(
    layers: impl Iterator<Item = &'a LayerPart>,
    smallest: u64,
    name: &str,
    kind: Kind,
) -> Vec<Part> {
    let (mut large, mut small): (Vec<_>, Vec<_>) = layers.partition(|layer| layer.unpacked_bytes >= smallest);
    if small.len() == 1 {
        large.append(&mut small);
    }
    let large = large.iter().map(|layer| {
        let named = match layer.created_by.as_str() {
            "" => name.to_owned(),
            instruction if instruction == name => name.to_owned(),
            instruction => format!("{name}: {instruction}"),
        };
        Part::new(named, kind, layer.unpacked_bytes)
    });
    let mut parts: Vec<Part> = large.collect();
    let rest: u64 = small.iter().map(|layer| layer.unpacked_bytes).sum();
    parts.push(Part::new(format!("{name}: {} small", small.len()), kind, rest));
    parts
}

fn binary_parts(binary: &BinaryPart, named: &[String]) -> Vec<Part> {
    if binary.crates.is_empty() {
        let why = binary.crates_absent.as_deref().unwrap_or("it has no crates");
        let name = format!("{}, not told by crate: {why}", binary.path);
        return vec![Part::new(name, Kind::Crates, binary.size_bytes)];
    }
    let colour_of = |name: &str| named.iter().position(|named| named == name);
    let with_colour = named.iter().enumerate().map(|(place, name)| {
        let part = binary.crates.iter().find(|part| part.name == *name);
        Part::new(name, Kind::Crate(place), part.map_or(0, |part| part.size_bytes()))
    });
    let mut parts: Vec<Part> = with_colour.collect();
    let others = binary
        .crates
        .iter()
        .filter(|part| colour_of(&part.name).is_none());
    let (count, bytes) = others.fold((0, 0), |(count, bytes), part| {
        (count + 1, bytes + part.size_bytes())
    });
    parts.extend([
        Part::new(format!("{count} other crates"), Kind::Crates, bytes),
        Part::new("not Rust", Kind::NotRust, binary.other_bytes),
        Part::new("no symbol", Kind::NoSymbol, binary.unattributed_bytes),
    ]);
    parts
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gate::budget::anatomy::{CratePart, FilePart};

    fn layer(from: &str, created_by: &str, unpacked_bytes: u64) -> LayerPart {
        LayerPart {
            digest: "sha256:aa".into(),
            from: from.into(),
            created_by: created_by.into(),
            unpacked_bytes,
            compressed_bytes: unpacked_bytes / 3,
        }
    }

    /// An image of `bytes` more than 1.41 MB, which its crate `big` has.
    pub(in super::super) fn anatomy(bytes: u64) -> Anatomy {
        let part = |name: &str, code_bytes| CratePart {
            name: name.into(),
            code_bytes,
            data_bytes: 0,
        };
        let crates = (1..=7)
            .rev()
            .map(|count| part(&format!("crate_{count}"), count * 10_000));
        Anatomy {
            unpacked_bytes: 1_410_000 + bytes,
            compressed_bytes: 500_000,
            layers: vec![
                layer("base", "COPY / /", 700_000),
                layer("base", "WORKDIR /home", 1_000),
                layer("base", "WORKDIR /", 1_000),
                layer("ours", "COPY /app /app", 608_000 + bytes),
                layer("ours", "COPY /static /static", 100_000),
            ],
            files: vec![FilePart {
                path: "/app".into(),
                layer: 3,
                size_bytes: 600_000 + bytes,
            }],
            binary: Some(BinaryPart {
                path: "/app".into(),
                size_bytes: 600_000 + bytes,
                crates: std::iter::once(part("big", bytes)).chain(crates).collect(),
                other_bytes: 120_000,
                unattributed_bytes: 200_000,
                ..BinaryPart::default()
            }),
            ..Anatomy::default()
        }
    }

    fn told(parts: &[Part]) -> Vec<(&str, u64)> {
        parts
            .iter()
            .map(|part| (part.name.as_str(), part.size_bytes / 1_000))
            .collect()
    }

    #[test]
    fn the_parts_are_all_of_the_image() {
        let anatomy = anatomy(300_000);
        let parts = stack(&anatomy, &named([&anatomy].into_iter()));
        let told = told(&parts);
        assert_eq!(told[..2], [("base: COPY / /", 700), ("base: 2 small", 2)]);
        assert_eq!(told[2..4], [("big", 300), ("crate_7", 70)]);
        assert_eq!(
            told[8..],
            [
                ("2 other crates", 30),
                ("not Rust", 120),
                ("no symbol", 200),
                ("other files: COPY /static /static", 100),
                ("other files", 8),
            ]
        );
        let sum: u64 = parts.iter().map(|part| part.size_bytes).sum();
        assert_eq!(sum, anatomy.unpacked_bytes);
    }

    #[test]
    fn without_crates_the_binary_is_one_part_that_says_why() {
        let mut anatomy = anatomy(0);
        let binary = anatomy.binary.as_mut().unwrap();
        binary.crates.clear();
        binary.crates_absent = Some("no stage `symbols`".into());
        let parts = stack(&anatomy, &[]);
        assert!(told(&parts).contains(&("/app, not told by crate: no stage `symbols`", 600)));
        assert_eq!(
            parts.iter().map(|part| part.size_bytes).sum::<u64>(),
            anatomy.unpacked_bytes
        );
    }

    #[test]
    fn a_binary_that_no_layer_holds_leaves_the_layers_whole() {
        let mut anatomy = anatomy(0);
        anatomy.files.clear();
        let parts = stack(&anatomy, &[]);
        assert!(told(&parts).contains(&("other files: COPY /app /app", 608)));
        assert_eq!(
            parts.iter().map(|part| part.size_bytes).sum::<u64>(),
            anatomy.unpacked_bytes
        );
    }

    #[test]
    fn the_crates_with_a_colour_are_the_largest_of_all_images() {
        let images = [anatomy(0), anatomy(500_000)];
        let names = named(images.iter());
        assert_eq!(names.len(), NAMED);
        assert_eq!(names[..2], ["big", "crate_7"]);
    }
}
