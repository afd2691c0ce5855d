//! The header of an Avro container and the heads of its blocks: the input is the container.

use super::container::{BlockHead, Header, header_bytes};

pub(crate) fn check(data: &[u8]) {
    let whole = parse(data);
    // Whether it is all there may take more bytes; what it says may not.
    let mut is_known = false;
    for cut in (0..data.len()).step_by(1 + data.len() / 64) {
        let part = parse(&data[..cut]);
        if let Ok(None) = part {
            assert!(!is_known, "what was there is gone with {cut} bytes");
            continue;
        }
        is_known = true;
        assert_eq!(part, whole, "the first {cut} bytes");
    }
    let Ok(Some((header, len))) = whole else { return };
    assert!(len <= data.len());
    let written = header_bytes(&header);
    let read = Header::parse(&written).expect("ours").expect("all of it").0;
    assert_eq!((&read.schema, read.sync), (&header.schema, header.sync));
    let mut rest = &data[len..];
    while let Ok(Some(head)) = BlockHead::parse(rest) {
        for cut in 0..head.head_bytes {
            assert_eq!(BlockHead::parse(&rest[..cut]), Ok(None));
        }
        let Some(behind) = rest.get(head.block_bytes()..) else { return };
        rest = behind;
    }
}

fn parse(data: &[u8]) -> Result<Option<(Header, usize)>, String> {
    Header::parse(data).map_err(|error| error.to_string())
}
