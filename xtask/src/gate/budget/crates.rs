//! A binary by crate: the symbols of its unstripped twin, attributed by their names. The twin must be the same code,
//! or nothing is said.

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind, elf};

use super::anatomy::{BinaryPart, CratePart, SectionPart};
use crate::hash;

/// Attributes the bytes of `shipped`, the binary at `path`, by the symbols of `twin`.
///
/// # Errors
/// In words, why nothing can be said: one of them is no ELF file, or the twin has other code or no symbols.
pub fn attribute(path: &str, shipped: &[u8], twin: &[u8]) -> Result<BinaryPart, String> {
    let parse = |what: &str, bytes| {
        object::File::parse(bytes).map_err(|error| format!("{what} is no binary of a known kind ({error})"))
    };
    let (ours, twin) = (parse(path, shipped)?, parse("the twin", twin)?);
    if let Some(section) = difference(&ours, &twin) {
        return Err(format!(
            "the twin is other code: its {section} is not that of {path}"
        ));
    }
    let mut binary = BinaryPart {
        path: path.to_owned(),
        size_bytes: shipped.len() as u64,
        ..BinaryPart::default()
    };
    let mut crates: BTreeMap<String, CratePart> = BTreeMap::new();
    let mut told: BTreeMap<usize, u64> = BTreeMap::new();
    for symbol in symbols(&twin)? {
        match symbol.owner {
            Owner::Crate(name) => {
                let part = crates.entry(name.clone()).or_insert_with(|| CratePart::new(name));
                *part.bytes_of(symbol.is_code) += symbol.bytes;
            }
            Owner::Other => binary.other_bytes += symbol.bytes,
            Owner::Nobody => continue,
        }
        *told.entry(symbol.section).or_default() += symbol.bytes;
    }
    binary.unattributed_bytes = binary.size_bytes.saturating_sub(told.values().sum());
    binary.unattributed = untold(&ours, &twin, &told);
    binary.crates = crates.into_values().collect();
    binary
        .crates
        .sort_by(|a, b| (b.size_bytes(), &a.name).cmp(&(a.size_bytes(), &b.name)));
    Ok(binary)
}

/// What no symbol tells of each section that ships. `told`: the twin's section -> bytes.
fn untold(ours: &object::File, twin: &object::File, told: &BTreeMap<usize, u64>) -> Vec<SectionPart> {
    let told_by_name = |name: &str| {
        let section = twin.section_by_name(name);
        section
            .and_then(|section| told.get(&section.index().0).copied())
            .unwrap_or_default()
    };
    let stored = ours.sections().filter_map(|section| {
        let (_, size) = section.file_range()?;
        let name = section.name().ok()?.to_owned();
        let size_bytes = size.saturating_sub(told_by_name(&name));
        (size_bytes > 0).then_some(SectionPart { name, size_bytes })
    });
    let mut parts: Vec<SectionPart> = stored.collect();
    parts.sort_by(|a, b| (b.size_bytes, &a.name).cmp(&(a.size_bytes, &b.name)));
    parts
}

/// The first section that is loaded and not the same in both.
fn difference(ours: &object::File, twin: &object::File) -> Option<String> {
    let (ours, twin) = (loaded(ours), loaded(twin));
    let names = ours.keys().chain(twin.keys());
    let mut differing = names.filter(|name| ours.get(*name) != twin.get(*name));
    differing.next().cloned()
}

/// Every section that is loaded -> address, size and content.
fn loaded(file: &object::File) -> BTreeMap<String, (u64, u64, String)> {
    let loaded = file.sections().filter(|section| {
        matches!(section.flags(), SectionFlags::Elf { sh_flags, .. } if sh_flags.0 & elf::SHF_ALLOC.0 != 0)
    });
    loaded
        .map(|section| {
            let content = section.data().map(hash::of).unwrap_or_default();
            let name = section.name().unwrap_or_default().to_owned();
            (name, (section.address(), section.size(), content))
        })
        .collect()
}

/// Whose a symbol is.
#[derive(Debug, PartialEq)]
enum Owner {
    Crate(String),
    /// C and assembly.
    Other,
    /// The compiler's: constants and tables that carry no name of ours.
    Nobody,
}

/// A symbol with bytes in the file, of which no other symbol has a part.
struct Symbol {
    owner: Owner,
    is_code: bool,
    section: usize,
    bytes: u64,
}

fn symbols(file: &object::File) -> Result<Vec<Symbol>, String> {
    let stored = |symbol: &object::Symbol| {
        let index = symbol.section_index()?;
        file.section_by_index(index).ok()?.file_range()?;
        Some(index.0)
    };
    let mut found: Vec<_> = file
        .symbols()
        .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data) && symbol.size() > 0)
        .filter_map(|symbol| Some((stored(&symbol)?, symbol)))
        .collect();
    if found.is_empty() {
        return Err("the twin has no symbols".to_owned());
    }
    // Several names for one place: the longest stretch counts, and no byte twice.
    found.sort_by_key(|(_, symbol)| {
        let name = symbol.name().unwrap_or_default().to_owned();
        (symbol.address(), std::cmp::Reverse(symbol.size()), name)
    });
    let mut end = 0;
    let mut symbols = Vec::new();
    for (section, symbol) in found {
        let (address, beyond) = (symbol.address(), symbol.address().saturating_add(symbol.size()));
        symbols.push(Symbol {
            owner: owner(symbol.name().unwrap_or_default()),
            is_code: symbol.kind() == SymbolKind::Text,
            section,
            bytes: beyond.saturating_sub(end.max(address)),
        });
        end = end.max(beyond);
    }
    Ok(symbols)
}

fn owner(name: &str) -> Owner {
    if name.starts_with("anon.") || name.starts_with("GCC_except_table") {
        return Owner::Nobody;
    }
    let Ok(demangled) = rustc_demangle::try_demangle(name) else {
        return Owner::Other;
    };
    match crate_of(&format!("{demangled:#}")) {
        Some(name) => Owner::Crate(name.to_owned()),
        None => Owner::Nobody,
    }
}

/// The crate that a path begins with. Of `<A as B>::f` it is A's, and where A is of no crate (`&T`, `[u8]`) B's.
fn crate_of(path: &str) -> Option<&str> {
    let Some(inner) = path.strip_prefix('<') else {
        return first(path);
    };
    let inner = &inner[..closing(inner)];
    // `<impl A for B>::f`, as some names have it: A's crate is as good.
    let inner = inner.strip_prefix("impl ").unwrap_or(inner);
    match cut_at_as(inner) {
        Some((own, of_trait)) => named(own).or_else(|| named(of_trait)),
        None => named(inner),
    }
}

/// The crate of a type: what it points to counts.
fn named(kind: &str) -> Option<&str> {
    let mut kind = kind;
    loop {
        let shorter = ["&", "*const ", "*mut ", "mut ", "dyn ", "[", "("]
            .iter()
            .find_map(|beginning| kind.strip_prefix(beginning));
        match shorter {
            Some(shorter) => kind = shorter,
            None if kind.starts_with('\'') => kind = kind.split_once(' ')?.1,
            None if kind.starts_with('<') => return crate_of(kind),
            None => return first(kind),
        }
    }
}

/// The first part of a path of several.
fn first(path: &str) -> Option<&str> {
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    (end > 0 && path[end..].starts_with("::")).then(|| &path[..end])
}

/// Where the bracket closes that was opened before `text`; arrows close none.
fn closing(text: &str) -> usize {
    let mut open = 1;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '<' => open += 1,
            '>' if before != '-' && before != '=' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
        before = character;
    }
    text.len()
}

/// `A as B`, where the words stand outside of all brackets.
fn cut_at_as(text: &str) -> Option<(&str, &str)> {
    let mut places = text.match_indices(" as ").map(|(at, _)| at);
    let outside = |at: &usize| {
        let before = text[..*at].replace("->", "").replace("=>", "");
        before.matches('<').count() == before.matches('>').count()
    };
    let at = places.find(outside)?;
    Some((&text[..at], &text[at + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_the_crate_of_its_path() {
        for (path, expected) in [
            ("tokio::runtime::park::Inner::park", Some("tokio")),
            ("core::ptr::drop_in_place<hyper::Body>", Some("core")),
            ("<hyper::Body as http_body::Body>::poll_frame", Some("hyper")),
            (
                "<&mut axum::X<a::B as c::D> as core::fmt::Debug>::fmt",
                Some("axum"),
            ),
            ("<&T as core::fmt::Debug>::fmt", Some("core")),
            ("<[u8] as hex::ToHex>::encode", Some("hex")),
            ("<(A, B) as tower::Layer>::layer", Some("tower")),
            ("<F as axum::handler::Handler<M, S>>::call", Some("axum")),
            (
                "<alloc::boxed::Box<dyn core::ops::Fn() -> u8> as x::Y>::z",
                Some("alloc"),
            ),
            ("<dyn core::any::Any>::is::<kit::Fault>", Some("core")),
            (
                "<<kit::A as kit::B>::C as serde_core::Serialize>::serialize",
                Some("kit"),
            ),
            ("<impl core::fmt::Debug for kit::A>::fmt", Some("core")),
            ("main", None),
            ("<F as G>::call", None),
            ("", None),
        ] {
            assert_eq!(crate_of(path), expected, "{path}");
        }
    }

    #[test]
    fn both_kinds_of_mangling_are_read_and_the_rest_is_not_guessed() {
        let of = |name: &str| Owner::Crate(name.to_owned());
        assert_eq!(
            owner("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE"),
            of("core")
        );
        assert_eq!(owner("_RNvCs1234_7mycrate3foo"), of("mycrate"));
        assert_eq!(owner("memcpy"), Owner::Other);
        assert_eq!(owner("anon.0123.4.llvm.5"), Owner::Nobody);
        assert_eq!(owner("GCC_except_table77"), Owner::Nobody);
    }

    /// This test's own binary: it has symbols, and is its own twin.
    fn own_binary() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn the_parts_of_a_binary_add_up_to_its_size() {
        let bytes = own_binary();
        let binary = attribute("/x", &bytes, &bytes).unwrap();
        let crates: u64 = binary.crates.iter().map(CratePart::size_bytes).sum();
        assert_eq!(
            crates + binary.other_bytes + binary.unattributed_bytes,
            bytes.len() as u64
        );
        let own = binary.crates.iter().find(|part| part.name == "xtask").unwrap();
        assert!(own.code_bytes > 100_000, "{own:?}");
        let sections: u64 = binary.unattributed.iter().map(|section| section.size_bytes).sum();
        assert!(
            sections <= binary.unattributed_bytes && binary.unattributed.len() > 5,
            "{:?}",
            binary.unattributed
        );
        assert!(
            binary
                .crates
                .windows(2)
                .all(|pair| pair[0].size_bytes() >= pair[1].size_bytes())
        );
    }

    #[test]
    fn a_twin_of_other_code_is_refused_by_name() {
        let bytes = own_binary();
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let (start, _) = file.section_by_name(".text").unwrap().file_range().unwrap();
        let mut other = bytes.clone();
        other[start as usize + 1_000] ^= 1;
        assert_eq!(
            attribute("/x", &bytes, &other).unwrap_err(),
            "the twin is other code: its .text is not that of /x"
        );
        let error = attribute("/x", b"#!/bin/sh", &bytes).unwrap_err();
        assert!(error.starts_with("/x is no binary of a known kind"), "{error}");
    }
}
