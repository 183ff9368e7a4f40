//! The shared count of calls in a real Redis, with a window that is short enough to wait for.

#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use std::time::{Duration, Instant};

use self::counted::Limits;

/// The store's own source: nothing of it is public.
#[path = "../../src/store/limits.rs"]
mod counted;

const WINDOW: Duration = Duration::from_secs(2);

/// A count whose window is short enough to wait for.
async fn counts(store: &testkit::Redis, window: Duration) -> Limits {
    let client = redis::Client::open(store.url()).unwrap();
    Limits::new(client.get_connection_manager().await.unwrap(), window)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_how_long_and_no_longer() {
    let store = testkit::Redis::start().await;
    // Longer than a busy machine stands still.
    let window = Duration::from_secs(5);
    let counts = counts(&store, window).await;
    for limit in [1, 4] {
        let key = format!("wait-{limit}");
        let mut first = None;
        for _ in 0..limit {
            assert_eq!(counts.lease(&key, limit).await.unwrap().permits, 1);
            first.get_or_insert_with(Instant::now);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let gone = first.unwrap().elapsed();
        let refused = counts.lease(&key, limit).await.unwrap();
        assert_eq!((refused.permits, refused.left), (0, 0));
        // The first of them is counted until its window is over, and no longer; the count rounds to milliseconds.
        let longest = window + Duration::from_millis(1);
        assert!(refused.wait + gone <= longest, "{gone:?}, {refused:?}");
        tokio::time::sleep(refused.wait).await;
        assert_eq!(counts.lease(&key, limit).await.unwrap().permits, 1, "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_window_has_more_than_the_limit() {
    let store = testkit::Redis::start().await;
    let counts = counts(&store, WINDOW).await;
    // Leases of two, from four replicas at once, across three windows: when asked, when answered, how many.
    let (limit, begun) = (40, Instant::now());
    let mut given: Vec<(Duration, Duration, u32)> = Vec::new();
    while begun.elapsed() < Duration::from_secs(5) {
        let before = begun.elapsed();
        let asked = (0..4).map(|_| counts.lease("k", limit));
        let asked = futures_util::future::join_all(asked).await;
        let permits = asked.into_iter().map(|grant| grant.unwrap().permits).sum();
        given.push((before, begun.elapsed(), permits));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (start, ..) in &given {
        let end = *start + WINDOW;
        let inside = given
            .iter()
            .filter(|(before, after, _)| before >= start && *after < end);
        let permits: u32 = inside.map(|(.., permits)| permits).sum();
        assert!(permits <= limit, "{permits} from {start:?}");
    }
    let total: u32 = given.iter().map(|(.., permits)| permits).sum();
    assert!(
        (2 * limit..=3 * limit).contains(&total),
        "{total} in three windows"
    );
}
