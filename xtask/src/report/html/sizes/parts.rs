//! The parts of one image in numbers, folded: its layers, folders and files, what is wasted, its crates.

use maud::{Markup, html};

use super::super::scale::region;
use super::Image;
use crate::catalogue::plural;
use crate::gate::budget::anatomy::{Anatomy, BinaryPart};
use crate::gate::budget::growth::kb;

/// How many crates have a line of their own.
const CRATES: usize = 30;
/// How many images have a line each before they are folded together.
const MANY: usize = 10;

/// The parts of each image; of many, folded once more.
pub(super) fn folded(images: &[Image<'_>]) -> Markup {
    let each = html! { @for image in images { (one(image)) } };
    html! {
        @if images.len() > MANY {
            details class="many" {
                summary { "The parts of each image" }
                (each)
            }
        } @else { (each) }
    }
}

fn one(image: &Image<'_>) -> Markup {
    let (service, anatomy) = (&image.record.service, &image.anatomy);
    html! {
        details {
            summary { "The parts of " (service) }
            (region(&format!("The parts of {service}"), html! {
                (layers(anatomy))
                (files(anatomy))
                (wasted(anatomy))
                @if let Some(binary) = &anatomy.binary { (crates(binary)) }
            }))
        }
    }
}

/// A table; cells of columns whose names end with `kB` are numbers.
fn table(caption: &str, columns: &[&str], rows: &[Vec<String>]) -> Markup {
    let class = |column: &str| column.ends_with("kB").then_some("number");
    html! {
        table {
            caption { (caption) }
            thead { tr { @for column in columns { th scope="col" class=[class(column)] { (column) } } } }
            tbody {
                @for row in rows {
                    tr { @for (cell, column) in row.iter().zip(columns) { td class=[class(column)] { (cell) } } }
                }
            }
        }
    }
}

fn layers(anatomy: &Anatomy) -> Markup {
    let rows = anatomy.layers.iter().enumerate().map(|(place, layer)| {
        vec![
            place.to_string(),
            layer.from.clone(),
            layer.created_by.clone(),
            kb(layer.unpacked_bytes).to_string(),
            kb(layer.compressed_bytes).to_string(),
        ]
    });
    let columns = ["layer", "of", "made by", "unpacked kB", "compressed kB"];
    table("Layers", &columns, &rows.collect::<Vec<_>>())
}

fn files(anatomy: &Anatomy) -> Markup {
    let folders = anatomy.folders.iter().map(|folder| {
        let count = folder.files_count;
        let files = format!("{count} file{}", plural(count as usize));
        vec![folder.path.clone(), files, kb(folder.size_bytes).to_string()]
    });
    let files = anatomy.files.iter().map(|file| {
        let layer = format!("in layer {}", file.layer);
        vec![file.path.clone(), layer, kb(file.size_bytes).to_string()]
    });
    let rows: Vec<_> = folders.chain(files).collect();
    table(
        "Folders and largest files",
        &["folder or file", "what", "kB"],
        &rows,
    )
}

fn wasted(anatomy: &Anatomy) -> Markup {
    if anatomy.wasted.is_empty() {
        return Markup::default();
    }
    let rows = anatomy.wasted.iter().map(|file| {
        let size_kb = kb(file.size_bytes).to_string();
        vec![
            file.path.clone(),
            file.layer.to_string(),
            file.why.clone(),
            size_kb,
        ]
    });
    table(
        "Wasted",
        &["file", "layer", "why", "kB"],
        &rows.collect::<Vec<_>>(),
    )
}

fn crates(binary: &BinaryPart) -> Markup {
    if let Some(why) = &binary.crates_absent {
        return html! { p { (binary.path) " is not told by crate: " (why) } };
    }
    let row = |name: &str, code: Option<u64>, data: Option<u64>| {
        let [code, data] =
            [code, data].map(|bytes| bytes.map_or(String::new(), |bytes| kb(bytes).to_string()));
        vec![name.to_owned(), code, data]
    };
    let named = binary.crates.iter().take(CRATES);
    let mut rows: Vec<_> = named
        .map(|part| row(&part.name, Some(part.code_bytes), Some(part.data_bytes)))
        .collect();
    let rest = binary.crates.get(CRATES..).unwrap_or_default();
    if !rest.is_empty() {
        let (code, data) = rest.iter().fold((0, 0), |(code, data), part| {
            (code + part.code_bytes, data + part.data_bytes)
        });
        rows.push(row(
            &format!("{} crates more", rest.len()),
            Some(code),
            Some(data),
        ));
    }
    rows.push(row("not Rust (C, assembly)", Some(binary.other_bytes), None));
    let sections = binary.unattributed.iter().map(|section| {
        let name = format!("without a symbol, in {}", section.name);
        row(&name, None, Some(section.size_bytes))
    });
    rows.extend(sections);
    let columns = ["crate", "code kB", "data kB"];
    table(&format!("What {} is made of", binary.path), &columns, &rows)
}
