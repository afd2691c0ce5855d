//! A whole tar stream: any bytes.

use crate::{reading, second_opinion};

pub(super) fn check(data: &[u8]) {
    let facts = reading::check(data);
    second_opinion::compare(data, &facts);
}
