//! What the benchmarks read, made from nothing: the same bytes in every run and on every machine.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// How much of each input there is: more than caches hold, and enough that a query's fixed costs don't show.
const INPUT_BYTES: usize = 64 << 20;

/// Numbers that look random: splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is small enough for the bias not to matter.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// In thousandths, from `start` on, `width` wide: floating-point numbers of a sensible length.
    fn decimal(&mut self, start: i32, width: u32) -> f64 {
        f64::from(start) + f64::from(u32::try_from(self.below(u64::from(width) * 1000)).expect("below 2³²")) / 1000.0
    }
}

/// The columns of OpenSky's state vectors, as the table that the peers are measured with has them: text, but for two.
pub(crate) const STATES_AS_TEXT: &str = "time VARCHAR, icao24 VARCHAR, lat VARCHAR, lon VARCHAR, velocity DOUBLE, \
    heading VARCHAR, vertrate VARCHAR, callsign VARCHAR, onground VARCHAR, alert VARCHAR, spi VARCHAR, squawk VARCHAR, \
    baroaltitude VARCHAR, geoaltitude DOUBLE, lastposupdate VARCHAR, lastcontact VARCHAR";

/// The same columns with the types that they naturally have.
pub(crate) const STATES_TYPED: &str = "time BIGINT, icao24 VARCHAR, lat DOUBLE, lon DOUBLE, velocity DOUBLE, \
    heading DOUBLE, vertrate DOUBLE, callsign VARCHAR, onground BOOLEAN, alert BOOLEAN, spi BOOLEAN, squawk VARCHAR, \
    baroaltitude DOUBLE, geoaltitude DOUBLE, lastposupdate DOUBLE, lastcontact DOUBLE";

/// State vectors as CSV with a header: some 165 bytes a row, some fields empty, numbers of up to 17 digits.
pub(crate) static STATES: LazyLock<String> = LazyLock::new(|| {
    let header = "time,icao24,lat,lon,velocity,heading,vertrate,callsign,onground,alert,spi,squawk,baroaltitude,geoaltitude,\
        lastposupdate,lastcontact\n";
    let (mut text, mut random) = (String::with_capacity(INPUT_BYTES + 1024), Random::new(1));
    text.push_str(header);
    let mut row = 0_u64;
    while text.len() < INPUT_BYTES {
        let aircraft = row % 2500;
        let time = 1_656_288_000 + 10 * (row / 2500);
        let (latitude, longitude) = (random.decimal(25, 35) / 1.000_000_7, random.decimal(-125, 155) / 1.000_000_7);
        let velocity = random.decimal(60, 240) * 0.514_444_444_444_444_5;
        let (heading, altitude) = (random.decimal(0, 360) / 1.000_003, random.decimal(300, 12_000));
        let written = write!(text, "{time},{:06x},{latitude},{longitude},", aircraft * 6007);
        let written = written.and_then(|()| match random.below(12) {
            0 => write!(text, ",,0.0,"),
            _ => write!(text, "{velocity},{heading},{},", (random.below(20) as f64 - 10.0) * 0.32512),
        });
        let written = written.and_then(|()| write!(text, "DLH{:<5},False,False,False,", aircraft));
        let squawk = if random.below(8) > 0 { format!("{:04o}", aircraft % 4096) } else { String::new() };
        written
            .and_then(|()| write!(text, "{squawk},{altitude:.2},{:.2},", altitude + 91.44))
            .and_then(|()| writeln!(text, "{time}.{:03},{time}.{:03}", random.below(1000), random.below(1000)))
            .expect("a string can be written to");
        row += 1;
    }
    text
});

/// Log records as JSON lines, with one object nested.
pub(crate) static LOG: LazyLock<String> = LazyLock::new(|| {
    let levels = ["debug", "info", "warn", "error"];
    let words = ["kaban", "locor", "midis", "neel", "pufin", "ragor", "sihun", "toil"];
    let (mut text, mut random) = (String::with_capacity(INPUT_BYTES + 1024), Random::new(2));
    let mut time = 1_656_288_000_000_u64;
    while text.len() < INPUT_BYTES {
        time += random.below(40);
        let mut pick = |list: &[&'static str]| list[usize::try_from(random.below(list.len() as u64)).expect("small")];
        let (level, first, second) = (pick(&levels), pick(&words), pick(&words));
        let (user, latency) = (random.below(1 << 31), random.decimal(0, 120));
        writeln!(
            text,
            "{{\"ts\":{time},\"level\":\"{level}\",\"status\":{},\"latency_ms\":{latency},\"user\":{{\"id\":{user},\
             \"tags\":[\"{first}\",\"{second}\"]}},\"path\":\"/{first}/{second}\",\"msg\":\"request {user} done\"}}",
            200 + random.below(4) * 100
        )
        .expect("a string can be written to");
    }
    text
});

/// A tar of these members.
pub(crate) fn tar<N: AsRef<str>, C: AsRef<[u8]>>(members: impl IntoIterator<Item = (N, C)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.as_ref().len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_656_288_000);
        builder.append_data(&mut header, name.as_ref(), content.as_ref()).expect("memory can be written to");
    }
    builder.into_inner().expect("memory can be written to")
}

/// A tar of `count` members of `sizes` bytes, which look random.
pub(crate) fn tar_of_many(count: usize, sizes: std::ops::Range<usize>) -> Vec<u8> {
    let mut random = Random::new(3);
    let noise: Vec<u8> = (0..sizes.end * 2 / 8 + 1).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut within = |range: std::ops::Range<usize>| {
        range.start + usize::try_from(random.below((range.end - range.start) as u64)).expect("it fitted before")
    };
    tar((0..count).map(|number| {
        let (size, start) = (within(sizes.clone()), within(0..sizes.end));
        (format!("docs/{:04}/doc_{number:07}.bin", number / 1000), &noise[start..start + size])
    }))
}
