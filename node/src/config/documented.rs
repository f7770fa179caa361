//! Doc comments of settings at run time, so that a default is described in one place: the source.

use serde::Serialize;
use toml::{Table, Value};

/// A table of settings that can print itself as commented TOML.
pub(crate) trait Documented: Serialize {
    /// Lines that describe the whole table.
    const ABOUT: &'static [&'static str];
    /// Name and description lines of every field, in the order of the source.
    const FIELDS: &'static [(&'static str, &'static [&'static str])];
}

/// Declares a struct and keeps its doc comments for [`write_table`].
macro_rules! documented {
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:path),* $(,)?)])?
        $(#[serde($($serde:tt)*)])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($field_serde:tt)*)])?
                pub $field:ident: $type:ty,
            )*
        }
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive),*)])?
        $(#[serde($($serde)*)])*
        pub struct $name {
            $(
                $(#[doc = $doc])*
                $(#[serde($($field_serde)*)])?
                pub $field: $type,
            )*
        }

        impl $crate::config::documented::Documented for $name {
            const ABOUT: &'static [&'static str] = &[$($about),*];
            const FIELDS: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($field), &[$($doc),*])),*];
        }
    };
}

pub(crate) use documented;

/// Appends `[header]` and the commented fields of `section` to `out`.
///
/// Fields that hold tables are left out: they are sections of their own. A field without a value
/// is shown as a comment, so that a reader learns that it exists.
pub(crate) fn write_table<T: Documented>(out: &mut String, header: &str, section: &T) {
    let values = Table::try_from(section).expect("every setting has a TOML form");
    if !header.is_empty() {
        out.push('\n');
        comment(out, T::ABOUT);
        out.push_str(&format!("{header}\n"));
    }
    for (name, doc) in T::FIELDS {
        match values.get(*name) {
            Some(Value::Table(_)) => {}
            Some(Value::Array(items)) if items.is_empty() || items.iter().any(Value::is_table) => {}
            Some(value) => {
                comment(out, doc);
                out.push_str(&format!("{name} = {value}\n"));
            }
            None => {
                comment(out, doc);
                out.push_str(&format!("# {name} is not set\n"));
            }
        }
    }
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(format!("#{line}").trim_end());
        out.push('\n');
    }
}
