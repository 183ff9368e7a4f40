//! A text with places for a number that is another one in each request.

use bytes::Bytes;

/// A text in which `${n}` stands for the request's number, and `${n%100}` for what is left of it after a division,
/// plus one: so that rows 1 to 100 can be asked for in turn.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Bytes),
    Number,
    /// From 1 to this.
    Within(u64),
}

impl Template {
    /// # Errors
    /// What stands between `${` and `}` and is no number's place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut pieces = text.split("${");
        parts.push(Part::Text(Bytes::copy_from_slice(
            pieces.next().unwrap_or_default().as_bytes(),
        )));
        for piece in pieces {
            let (place, rest) = piece
                .split_once('}')
                .ok_or_else(|| format!("'${{{piece}' has no end"))?;
            parts.push(place_of(place)?);
            if !rest.is_empty() {
                parts.push(Part::Text(Bytes::copy_from_slice(rest.as_bytes())));
            }
        }
        Ok(Template { parts })
    }

    /// The text of one request. A text without places is not copied.
    pub fn fill(&self, number: u64) -> Bytes {
        if let [Part::Text(text)] = &self.parts[..] {
            return text.clone();
        }
        let mut filled = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.extend_from_slice(text),
                Part::Number => filled.extend_from_slice(number.to_string().as_bytes()),
                Part::Within(most) => filled.extend_from_slice((number % most + 1).to_string().as_bytes()),
            }
        }
        filled.into()
    }
}

fn place_of(place: &str) -> Result<Part, String> {
    match place.strip_prefix('n') {
        Some("") => Ok(Part::Number),
        Some(rest) => {
            let most = rest.strip_prefix('%').and_then(|most| most.parse().ok());
            let most = most.filter(|most| *most > 0);
            most.map(Part::Within)
                .ok_or_else(|| format!("'${{{place}}}' is no place: expected ${{n}} or ${{n%100}}"))
        }
        None => Err(format!("nothing is known as '${{{place}}}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let filled = |text: &str, number| Template::parse(text).unwrap().fill(number);
        assert_eq!(filled("/data/Row/${n%3}", 0), "/data/Row/1");
        assert_eq!(filled("/data/Row/${n%3}", 5), "/data/Row/3");
        assert_eq!(filled("{\"sku\":\"a-${n}\"}", 17), "{\"sku\":\"a-17\"}");
        assert_eq!(filled("", 1), "");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in ["${token}", "${n%0}", "${n%x}", "${n", "${nn}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
