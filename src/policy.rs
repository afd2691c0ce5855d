//! What to do with what does not fit: the values of `on_error`, `on_unreachable`, `on_bad_row` and `on_invalid_utf8`.

use std::str::FromStr;

use crate::error::{Error, ErrorKind};

macro_rules! policy {
    ($(#[doc = $doc:literal])+ $name:ident($option:literal) { $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name {
            #[default]
            $($(#[doc = $vdoc])+ $variant,)+
        }

        impl $name {
            /// The value as SQL spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text.to_ascii_lowercase().as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Error::new(
                        ErrorKind::Option,
                        format!(
                            "option '{}' can't be '{text}': it is one of {}",
                            $option,
                            [$(concat!("'", $text, "'")),+].join(", "),
                        ),
                    )),
                }
            }
        }
    };
}

policy! {
    /// What a damaged archive or member does to the query.
    OnError("on_error") {
        /// End the query.
        Fail = "fail",
        /// Leave the rest of that archive (or that member) out, count it and report it.
        Skip = "skip",
    }
}

policy! {
    /// What an archive that can't be fetched does to the query.
    OnUnreachable("on_unreachable") {
        /// End the query.
        Fail = "fail",
        /// Go on without it, count it and report it.
        Skip = "skip",
    }
}

policy! {
    /// What a record that does not fit its columns does to the query.
    OnBadRow("on_bad_row") {
        /// End the query.
        Fail = "fail",
        /// Drop the record and count it.
        Skip = "skip",
        /// A value that does not parse becomes NULL and is counted; a record without a shape is dropped and counted.
        Null = "null",
    }
}

policy! {
    /// What bytes that are not UTF-8 do in text, lines and string fields.
    OnInvalidUtf8("on_invalid_utf8") {
        /// End the query.
        Fail = "fail",
        /// Put U+FFFD in their place.
        Replace = "replace",
        /// Leave the bytes out.
        Ignore = "ignore",
        /// Make the whole value NULL.
        Null = "null",
    }
}
