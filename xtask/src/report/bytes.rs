//! Where each image's bytes are, for the Markdown report: folded, since it is long and seldom asked for.

use std::fmt::Write;

use super::markdown::Block;
use super::{Report, escape};
use crate::gate::budget::anatomy::{Anatomy, BinaryPart};
use crate::gate::budget::{growth::kb, mb};
use crate::verdict::Gate;

/// How many lines each table has at most.
const FILES: usize = 5;
const CRATES: usize = 15;
const SECTIONS: usize = 4;
/// How much of an instruction is shown, in characters.
const INSTRUCTION: usize = 70;

/// A part for each image whose size was judged.
pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let judged = report.records.iter().filter(|record| record.gate == Gate::Budget);
    let anatomies =
        judged.filter_map(|record| Some((&record.service, Anatomy::of_figures(&record.figures)?)));
    anatomies
        .map(|(service, anatomy)| block(service, &anatomy))
        .collect()
}

fn block(service: &str, anatomy: &Anatomy) -> Block {
    let title = format!(
        "Size of {}: {} unpacked, {} compressed, {} kB wasted",
        escape(service),
        mb(anatomy.unpacked_bytes),
        mb(anatomy.compressed_bytes),
        kb(anatomy.wasted_bytes)
    );
    let mut text = String::new();
    layers(anatomy, &mut text);
    folders_and_files(anatomy, &mut text);
    wasted(anatomy, &mut text);
    if let Some(binary) = &anatomy.binary {
        crates(binary, &mut text);
    }
    Block::folded(&title, &text)
}

fn layers(anatomy: &Anatomy, text: &mut String) {
    head(&["layer", "of", "made by", "unpacked kB", "compressed kB"], text);
    for (place, layer) in anatomy.layers.iter().enumerate() {
        let mut made_by: String = layer.created_by.chars().take(INSTRUCTION).collect();
        if made_by.len() < layer.created_by.len() {
            made_by.push('…');
        }
        let _ = writeln!(
            text,
            "| {place} | {} | {} | {} | {} |",
            layer.from,
            escape(&made_by),
            kb(layer.unpacked_bytes),
            kb(layer.compressed_bytes)
        );
    }
    text.push('\n');
}

fn folders_and_files(anatomy: &Anatomy, text: &mut String) {
    head(&["folder or file", "files", "layer", "kB"], text);
    for folder in &anatomy.folders {
        let (path, size_kb) = (escape(&folder.path), kb(folder.size_bytes));
        let _ = writeln!(text, "| {path} | {} | | {size_kb} |", folder.files_count);
    }
    for file in anatomy.files.iter().take(FILES) {
        let (path, size_kb) = (escape(&file.path), kb(file.size_bytes));
        let _ = writeln!(text, "| {path} | | {} | {size_kb} |", file.layer);
    }
    text.push('\n');
}

fn wasted(anatomy: &Anatomy, text: &mut String) {
    if anatomy.wasted.is_empty() {
        return;
    }
    head(&["wasted", "layer", "why", "kB"], text);
    for file in anatomy.wasted.iter().take(FILES) {
        let (path, why) = (escape(&file.path), escape(&file.why));
        let _ = writeln!(
            text,
            "| {path} | {} | {why} | {} |",
            file.layer,
            kb(file.size_bytes)
        );
    }
    text.push('\n');
}

fn crates(binary: &BinaryPart, text: &mut String) {
    if let Some(why) = &binary.crates_absent {
        let _ = writeln!(
            text,
            "{} is not told by crate: {}\n",
            escape(&binary.path),
            escape(why)
        );
        return;
    }
    head(
        &[&format!("in {}", escape(&binary.path)), "code kB", "data kB"],
        text,
    );
    for part in binary.crates.iter().take(CRATES) {
        let (code_kb, data_kb) = (kb(part.code_bytes), kb(part.data_bytes));
        let _ = writeln!(text, "| {} | {code_kb} | {data_kb} |", escape(&part.name));
    }
    let rest = binary.crates.get(CRATES..).unwrap_or_default();
    let sum = |bytes: fn(&_) -> u64| kb(rest.iter().map(bytes).sum());
    let _ = writeln!(
        text,
        "| {} crates more | {} | {} |",
        rest.len(),
        sum(|part| part.code_bytes),
        sum(|part| part.data_bytes)
    );
    let sections = binary.unattributed.iter().take(SECTIONS);
    let sections: Vec<String> = sections
        .map(|section| format!("{} {}", escape(&section.name), kb(section.size_bytes)))
        .collect();
    let _ = writeln!(text, "| not Rust (C, assembly) | {} | |", kb(binary.other_bytes));
    let _ = writeln!(
        text,
        "| without a symbol ({}, …) | | {} |\n",
        sections.join(", "),
        kb(binary.unattributed_bytes)
    );
}

/// The head of a table; numbers stand in the columns whose names end with `kB`.
fn head(names: &[&str], text: &mut String) {
    let rules = names
        .iter()
        .map(|name| if name.ends_with("kB") { " --: |" } else { " --- |" });
    let _ = writeln!(text, "| {} |\n|{}", names.join(" | "), rules.collect::<String>());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::budget::anatomy::{CratePart, FilePart, FolderPart, LayerPart, SectionPart, Wasted};
    use crate::report::tests::sample;

    fn anatomy() -> Anatomy {
        let crates = (1..=17).rev().map(|number| CratePart {
            name: format!("crate_{number}"),
            code_bytes: number * 1_000,
            data_bytes: 0,
        });
        Anatomy {
            unpacked_bytes: 2_000_000,
            compressed_bytes: 1_000_000,
            layers: vec![LayerPart {
                digest: "sha256:aa".into(),
                from: "ours".into(),
                created_by: format!("RUN {}", "x".repeat(100)),
                unpacked_bytes: 2_000_000,
                compressed_bytes: 1_000_000,
            }],
            folders: vec![FolderPart {
                path: "/".into(),
                files_count: 2,
                size_bytes: 1_990_000,
            }],
            files: vec![FilePart {
                path: "/app".into(),
                layer: 0,
                size_bytes: 1_900_000,
            }],
            wasted_bytes: 5_000,
            wasted: vec![Wasted {
                path: "/b|c".into(),
                layer: 0,
                size_bytes: 5_000,
                why: "the same content as /a".into(),
            }],
            binary: Some(BinaryPart {
                path: "/app".into(),
                size_bytes: 1_900_000,
                crates: crates.collect(),
                other_bytes: 700_000,
                unattributed: vec![SectionPart {
                    name: ".rodata".into(),
                    size_bytes: 400_000,
                }],
                unattributed_bytes: 1_047_000,
                crates_absent: None,
            }),
        }
    }

    fn rendered(anatomy: &Anatomy) -> String {
        let mut report = sample();
        let budget = report
            .records
            .iter_mut()
            .find(|record| record.gate == Gate::Budget);
        let figures = serde_json::to_value(anatomy).unwrap();
        budget.unwrap().figures = figures.as_object().cloned().unwrap();
        blocks(&report).into_iter().map(|block| block.text).collect()
    }

    #[test]
    fn an_image_by_layer_file_waste_and_crate() {
        insta::assert_snapshot!(rendered(&anatomy()));
    }

    #[test]
    fn where_no_crate_is_told_the_reason_is() {
        let mut anatomy = anatomy();
        anatomy.binary = Some(BinaryPart {
            path: "/app".into(),
            crates_absent: Some("the Dockerfile has no stage `symbols`".into()),
            ..BinaryPart::default()
        });
        let text = rendered(&anatomy);
        assert!(
            text.contains("/app is not told by crate: the Dockerfile has no stage \\`symbols\\`"),
            "{text}"
        );
    }

    #[test]
    fn a_report_without_sizes_has_no_such_section() {
        assert_eq!(blocks(&sample()), []);
    }
}
