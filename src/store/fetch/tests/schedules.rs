//! Schedules of faults by chance, the same every time: whatever comes in whatever order, the bytes are right or there is
//! an error.

use super::*;

const SCHEDULES: u64 = 1_000;

/// Long enough for many ranges of the settings below.
const OBJECT_BYTES: usize = 200_000;

/// Draws faults, from hardly any to more than can be endured.
#[derive(Debug)]
pub(super) struct Schedule {
    state: u64,
    /// Of a thousand answers, so many are spoilt.
    spoilt: u64,
    /// Of a thousand answers, so many are about something else than what was asked for.
    wrong: u64,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut schedule = Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, spoilt: 0, wrong: 0 };
        schedule.spoilt = [10, 100, 400, 600, 800, 950_u64][schedule.below(6)];
        schedule.wrong = [0, 0, 0, 5_u64][schedule.below(4)];
        schedule
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 16) % end as u64).unwrap()
    }

    pub(super) fn draw(&mut self) -> Fault {
        let chance = self.below(1_000) as u64;
        if chance < self.wrong {
            return [Fault::Long, Fault::ETag, Fault::Size, Fault::Range][self.below(4)];
        }
        if chance >= self.wrong + self.spoilt {
            return Fault::None;
        }
        let bytes = [0, 1, 999, 4_096, self.below(30_000)][self.below(5)];
        [Fault::Refuse, Fault::Break(bytes), Fault::Break(bytes), Fault::Short(bytes), Fault::Stall, Fault::Hang]
            [self.below(6)]
    }
}

/// Reads, says what it wants, and hops where `schedule` says so. Every piece is compared with where it says that it is.
async fn read(reader: &mut ObjectReader, schedule: &mut Schedule, content: &Bytes) -> Result<()> {
    loop {
        let start = usize::try_from(reader.position()).unwrap();
        let Some(piece) = reader.next().await? else { break };
        assert!(piece == content[start..start + piece.len()], "other bytes at {start}");
        if schedule.below(4) == 0 {
            reader.want([1, 5_000, 100_000, u64::MAX][schedule.below(4)]);
        }
        if schedule.below(4) == 0 {
            reader.skip([1, 500, 5_000, 60_000][schedule.below(4)]);
        }
    }
    assert_eq!(reader.position(), len_of(content), "it ends where the object does");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_bytes_are_right_or_there_is_an_error() {
    let content = content().slice(..OBJECT_BYTES);
    let (mut complete, mut failed, mut resumed) = (0, 0, 0);
    for seed in 0..SCHEDULES {
        let inner = InMemory::new();
        inner.put(&"a.tar".into(), content.clone().into()).await.unwrap();
        let meta = inner.head(&"a.tar".into()).await.unwrap();
        let mut chance = Schedule::new(seed + 7_777);
        let schedule = Some(Mutex::new(Schedule::new(seed)));
        let store =
            Arc::new(Faulty { inner, fault: Fault::None, left: Mutex::default(), schedule, asked: Mutex::default() });
        let settings = FetchSettings {
            first_range_bytes: [1_000, 10_000, 300_000][chance.below(3)],
            range_bytes: [3_000, 30_000, 200_000][chance.below(3)],
            prefetch_bytes: [1, 40_000, 100_000][chance.below(3)],
            hop_bytes_min: 4_000,
            // What is measured here is nothing that a line would give: everything else must not depend on it.
            line: (chance.below(8) == 0).then(Arc::default),
            ..settings()
        };
        let url = "s3://b/a.tar".to_owned();
        let size = Some(meta.size).filter(|_| chance.below(3) > 0);
        let e_tag = meta.e_tag.filter(|_| chance.below(3) > 0);
        let target = FetchTarget { store, location: meta.location, url, size, e_tag, version: None };
        let stats = Arc::new(Stats::default());
        let mut reader = reader_of(target, settings, Arc::clone(&stats));
        match read(&mut reader, &mut chance, &content).await {
            Ok(()) => complete += 1,
            Err(error) => {
                failed += 1;
                assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Changed), "{seed}: {error}");
                assert!(reader.next().await.is_err(), "{seed}: no end after an error");
            }
        }
        resumed += u64::from(stats.resumed_bytes.value() > 0);
    }
    assert!(complete > 300 && failed > 100 && resumed > 300, "{complete} complete, {failed} failed, {resumed} resumed");
}
