//! Parts of a Markdown report that are shown whole or not at all, so that a page fits where there is little room.

/// A part, and what it is called where it is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub name: String,
    pub text: String,
}

impl Block {
    pub fn new(name: impl Into<String>, text: String) -> Self {
        Block {
            name: name.into(),
            text,
        }
    }

    /// Folded: one line, until it is asked for. `title` is escaped already.
    pub fn folded(title: &str, text: &str) -> Self {
        let text = format!(
            "<details><summary>{title}</summary>\n\n{}\n\n</details>\n\n",
            text.trim_end()
        );
        Block::new(title, text)
    }
}

/// All parts.
pub fn whole(blocks: &[Block]) -> String {
    blocks.iter().map(|block| block.text.as_str()).collect()
}

/// The parts that fit into `room` bytes, in their order, and at the end what was left out and where it is.
pub fn fitting(blocks: &[Block], room: usize, elsewhere: &str) -> String {
    let all = whole(blocks);
    if all.len() <= room {
        return all;
    }
    // The names of what is left out take room themselves: they are counted, not listed, where they are many.
    let reserved = 400 + elsewhere.len();
    let (mut text, mut left_out) = (String::new(), Vec::new());
    for block in blocks {
        match text.len() + block.text.len() + reserved <= room {
            true => text.push_str(&block.text),
            false => left_out.push(block.name.as_str()),
        }
    }
    let named = left_out.join(", ");
    let words = match named.len() < 300 {
        true => named,
        false => format!("{} parts", left_out.len()),
    };
    let closing = format!("Left out for want of room: {words}. {elsewhere}\n");
    match text.len() + closing.len() <= room {
        true => text + &closing,
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Vec<Block> {
        let block = |name: &str, length| Block::new(name, name.repeat(length));
        vec![block("a", 500), block("b", 5_000), block("c", 500)]
    }

    #[test]
    fn what_fits_is_shown_whole() {
        assert_eq!(fitting(&blocks(), 6_000, "All of it: x"), whole(&blocks()));
    }

    #[test]
    fn a_part_without_room_is_named_and_none_is_cut() {
        let text = fitting(&blocks(), 2_000, "All of it: x");
        let expected = format!(
            "{}{}Left out for want of room: b. All of it: x\n",
            "a".repeat(500),
            "c".repeat(500)
        );
        assert_eq!(text, expected);
        for room in 0..6_100 {
            assert!(fitting(&blocks(), room, "All of it: x").len() <= room, "{room}");
        }
    }
}
