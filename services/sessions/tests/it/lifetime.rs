//! How sessions begin and end, and who may see them.

use std::time::Duration;

use serde_json::json;
use sessions::{Channel, Error, Mode, Patch};
use testkit::Redis;

use super::{new, owner, shared, store};

#[tokio::test(flavor = "multi_thread")]
async fn sliding_lives_on_while_it_is_used_and_fixed_does_not() {
    let redis = Redis::start().await;
    let store = store(&redis);
    let ada = owner("acme", "ada");
    let sliding = store.create(&ada, &new(Mode::Sliding, 5000)).await.unwrap();
    let fixed = store.create(&ada, &new(Mode::Fixed, 5000)).await.unwrap();
    let begun = std::time::Instant::now();
    // Used every 50 ms for more than twice its time.
    let mut fixed_ended = None;
    while begun.elapsed() < Duration::from_secs(11) {
        store
            .touch(&ada, &sliding.session_id, Channel::Api)
            .await
            .expect("it slides");
        let used = store.touch(&ada, &fixed.session_id, Channel::Api).await;
        if let Err(error) = used {
            assert!(matches!(error, Error::NotFound), "{error}");
            fixed_ended.get_or_insert(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = fixed_ended.expect("it is fixed");
    assert!(ended > Duration::from_secs(4), "{ended:?}");
    assert_eq!(store.list(&ada).await.unwrap().len(), 1);
    testkit::wait_for("the end of the sliding one", testkit::PATIENCE, async || {
        store.list(&ada).await.unwrap().is_empty().then_some(())
    })
    .await;
    // A write that comes late brings nothing back.
    let late = store
        .update(
            &ada,
            &sliding.session_id,
            Channel::Api,
            &shared(json!({ "a": 1 })),
        )
        .await;
    assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
    assert_eq!(keys(&redis).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_gone_everywhere_with_all_its_keys() {
    let redis = Redis::start().await;
    let (one, other) = (store(&redis), store(&redis));
    let ada = owner("acme", "ada");
    let id = one
        .create(&ada, &new(Mode::Sliding, 60_000))
        .await
        .unwrap()
        .session_id;
    // Writers race with the end; whoever comes later leaves nothing.
    let writers = (0..40).map(|n| {
        let (store, ada, id) = (other.clone(), ada.clone(), id.clone());
        tokio::spawn(async move {
            store
                .update(&ada, &id, Channel::Cli, &shared(json!({ "n": n })))
                .await
        })
    });
    let writers: Vec<_> = writers.collect();
    one.end(&ada, &id).await.unwrap();
    for writer in writers {
        let _ = writer.await.unwrap();
    }
    assert!(matches!(
        other.get(&ada, &id, Channel::Api).await,
        Err(Error::NotFound)
    ));
    assert!(matches!(one.end(&ada, &id).await, Err(Error::NotFound)));
    assert_eq!(keys(&redis).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_one_user_of_one_tenant_who_has_so_many() {
    let redis = Redis::start().await;
    let store = store(&redis);
    let ada = owner("acme", "ada");
    let id = store
        .create(&ada, &new(Mode::Sliding, 60_000))
        .await
        .unwrap()
        .session_id;
    for other in [owner("acme", "eve"), owner("other", "ada"), owner("", "")] {
        let refused = [
            store.get(&other, &id, Channel::Api).await.map(drop),
            store.touch(&other, &id, Channel::Api).await,
            store
                .update(&other, &id, Channel::Api, &Patch::default())
                .await
                .map(drop),
            store
                .join(&other, &id, Channel::Cli, &serde_json::Map::new())
                .await
                .map(drop),
            store.history(&other, &id, Channel::Cli).await.map(drop),
            store.end(&other, &id).await,
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::NotFound)), "{other:?}: {refused:?}");
        }
        assert!(store.list(&other).await.unwrap().is_empty());
    }
    for _ in 0..2 {
        store.create(&ada, &new(Mode::Sliding, 60_000)).await.unwrap();
    }
    let fourth = store.create(&ada, &new(Mode::Sliding, 60_000)).await;
    assert!(matches!(fourth, Err(Error::TooMany { limit: 3 })), "{fourth:?}");
    assert_eq!(store.list(&ada).await.unwrap().len(), 3);
    store.end(&ada, &id).await.unwrap();
    store
        .create(&ada, &new(Mode::Sliding, 60_000))
        .await
        .expect("room again");
}

async fn keys(redis: &Redis) -> Vec<String> {
    let client = redis::Client::open(redis.url()).expect("redis answers");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("redis answers");
    redis::cmd("KEYS")
        .arg("session*")
        .query_async(&mut connection)
        .await
        .expect("redis answers")
}
