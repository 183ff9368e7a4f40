//! Writes: none lost between replicas, none too large, none over somebody else's.

use serde_json::{Value, json};
use sessions::{Channel, Error, Mode, Patch};
use testkit::Redis;

use super::{new, object, owner, shared, store};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_writes_the_other_sees_and_nothing_is_lost() {
    let redis = Redis::start().await;
    let (one, other) = (store(&redis), store(&redis));
    let ada = owner("acme", "ada");
    let made = one.create(&ada, &new(Mode::Sliding, 60_000)).await.unwrap();
    assert_eq!((made.session_id.len(), made.version, made.ttl), (32, 1, 60));
    let id = made.session_id.as_str();

    let writes = (0..100).map(|n| {
        let (store, ada) = (if n % 2 == 0 { one.clone() } else { other.clone() }, ada.clone());
        let id = id.to_owned();
        tokio::spawn(async move {
            let patch = shared(json!({ format!("key{n}"): n }));
            store.update(&ada, &id, Channel::Websocket, &patch).await.unwrap()
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let seen = other.get(&ada, id, Channel::Mcp).await.unwrap();
    assert_eq!((seen.version, seen.shared_data.len()), (101, 101));
    for n in 0..100 {
        assert_eq!(seen.shared_data[&format!("key{n}")], n);
    }
    assert_eq!(
        seen.active_channels,
        [Channel::Api, Channel::Mcp, Channel::Websocket]
    );
    // Made, joined by two channels, changed a hundred times.
    assert_eq!(seen.event_count, 103);
    let history = one.history(&ada, id, Channel::Api).await.unwrap();
    assert_eq!(
        (history.len(), history[0].kind.as_str()),
        (103, "session.created")
    );

    // A name is replaced as a whole, and null takes it away.
    let patch = shared(json!({ "cart": [], "key0": null }));
    let seen = one.update(&ada, id, Channel::Api, &patch).await.unwrap();
    assert_eq!(seen.shared_data["cart"], json!([]));
    assert!(!seen.shared_data.contains_key("key0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_writer_is_told_and_a_large_one_refused() {
    let redis = Redis::start().await;
    let store = store(&redis);
    let ada = owner("acme", "ada");
    let made = store.create(&ada, &new(Mode::Fixed, 60_000)).await.unwrap();
    let id = made.session_id.as_str();
    let expecting = |version| Patch {
        expected_version: Some(version),
        ..shared(json!({ "a": version }))
    };
    // Of ten that saw the same version, one writes.
    let writers = (0..10).map(|_| {
        let (store, ada, id) = (store.clone(), ada.clone(), id.to_owned());
        let patch = expecting(made.version);
        tokio::spawn(async move { store.update(&ada, &id, Channel::Api, &patch).await })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(_) => written += 1,
            Err(Error::Changed { version }) => assert_eq!(version, made.version + 1),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(written, 1);

    let half = Value::String("x".repeat(40_000));
    let first = store
        .update(&ada, id, Channel::Api, &shared(json!({ "one": half })))
        .await;
    let version = first.unwrap().version;
    let second = store
        .update(&ada, id, Channel::Api, &shared(json!({ "two": half })))
        .await;
    assert!(
        matches!(second, Err(Error::TooLarge { limit: 65_536 })),
        "{second:?}"
    );
    let seen = store.get(&ada, id, Channel::Api).await.unwrap();
    assert_eq!(seen.version, version, "a refused write leaves nothing behind");
    assert!(!seen.shared_data.contains_key("two"));
    // In the place of the first there is room for the second.
    let swap = shared(json!({ "one": null, "two": half }));
    store.update(&ada, id, Channel::Api, &swap).await.unwrap();
    let context = object(json!({ "big": half }));
    let joined = store.join(&ada, id, Channel::Cli, &context).await;
    assert!(matches!(joined, Err(Error::TooLarge { .. })), "{joined:?}");
    let context = object(json!({ "terminal": "xterm", "empty": {} }));
    let joined = store.join(&ada, id, Channel::Cli, &context).await.unwrap();
    assert_eq!(joined.channel_contexts["cli"], Value::Object(context));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_holds_comes_back_as_it_was() {
    let redis = Redis::start().await;
    let store = store(&redis);
    let ada = owner("acme", "ada:b@c");
    let id = store
        .create(&ada, &new(Mode::Fixed, 60_000))
        .await
        .unwrap()
        .session_id;
    // What a script that read JSON would spoil: empty lists, great numbers, names with colons, odd characters.
    let values = json!({
        "": "no name", "a:b": [], "o": {}, "n": 9_007_199_254_740_993_u64, "f": 0.1, "deep": [[{ "x": null }]],
        "text": "\u{0}\n\"' DROP TABLE x; ]] {} ü 🦀", "no": false,
    });
    let patch = Patch {
        workflow_states: object(values.clone()),
        ..shared(values.clone())
    };
    let seen = store.update(&ada, &id, Channel::Api, &patch).await.unwrap();
    for (name, value) in &object(values) {
        assert_eq!(&seen.shared_data[name], value, "{name}");
        assert_eq!(&seen.workflow_states[name], value, "{name}");
    }
}
