//! Suites and cases as XML, element by element in the order that the schemas want.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Case, Ended, Suite};
use crate::report::words::visible;

pub(super) fn write(suites: &[Suite]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuites")
        .write_inner_content(|writer| {
            for (id, suite) in suites.iter().enumerate() {
                write_suite(writer, id, suite)?;
            }
            Ok(())
        })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_suite(writer: &mut Writer<Vec<u8>>, id: usize, suite: &Suite) -> io::Result<()> {
    let attributes = [
        ("name", attribute(&suite.name)),
        ("package", attribute(&suite.package)),
        ("id", id.to_string()),
        ("timestamp", suite.at.clone()),
        ("hostname", attribute(&suite.host)),
        ("tests", suite.cases.len().to_string()),
        (
            "failures",
            suite.count(|ended| matches!(ended, Ended::Bad("failure", ..))),
        ),
        (
            "errors",
            suite.count(|ended| matches!(ended, Ended::Bad("error", ..))),
        ),
        ("skipped", suite.count(|ended| matches!(ended, Ended::Skipped(_)))),
        ("time", seconds(suite.took_ms)),
    ];
    let attributes = attributes.iter().map(|(name, value)| (*name, value.as_str()));
    let element = writer.create_element("testsuite").with_attributes(attributes);
    element.write_inner_content(|writer| {
        writer
            .create_element("properties")
            .write_inner_content(|writer| {
                for (name, value) in &suite.properties {
                    let value = attribute(value);
                    let property = writer.create_element("property");
                    property
                        .with_attributes([("name", *name), ("value", value.as_str())])
                        .write_empty()?;
                }
                Ok(())
            })?;
        for case in &suite.cases {
            write_case(writer, &suite.class, case)?;
        }
        let out = visible(&suite.out);
        writer
            .create_element("system-out")
            .write_text_content(BytesText::new(&out))?;
        writer.create_element("system-err").write_empty()?;
        Ok(())
    })?;
    Ok(())
}

fn write_case(writer: &mut Writer<Vec<u8>>, class: &str, case: &Case) -> io::Result<()> {
    let (name, class, time) = (attribute(&case.name), attribute(class), seconds(case.took_ms));
    let element = writer.create_element("testcase");
    let element = element.with_attributes([
        ("name", name.as_str()),
        ("classname", class.as_str()),
        ("time", time.as_str()),
    ]);
    match &case.result {
        Ended::Passed => element.write_empty()?,
        Ended::Skipped(why) => element.write_inner_content(|writer| {
            let why = attribute(why);
            let skipped = writer.create_element("skipped");
            skipped.with_attribute(("message", why.as_str())).write_empty()?;
            Ok(())
        })?,
        Ended::Bad(kind, word, message, all) => element.write_inner_content(|writer| {
            let (message, all) = (attribute(message), visible(all));
            let bad = writer.create_element(*kind);
            let bad = bad.with_attributes([("message", message.as_str()), ("type", *word)]);
            bad.write_text_content(BytesText::new(&all))?;
            Ok(())
        })?,
    };
    Ok(())
}

/// In an attribute a break of line would be read as a blank.
fn attribute(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
