//! Sessions in a real Redis: two stores over one Redis are two replicas.

mod lifetime;
mod writes;

use std::time::Duration;

use serde_json::{Map, Value, json};
use sessions::{Channel, Limits, Mode, New, Owner, Patch, Store};
use testkit::Redis;

fn store(redis: &Redis) -> Store {
    let client = redis::Client::open(redis.url()).expect("a store");
    Store::new(client, Limits { per_user: 3 }).expect("a store")
}

fn owner(tenant: &str, user: &str) -> Owner {
    Owner {
        user: user.to_owned(),
        tenant: tenant.to_owned(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn new(mode: Mode, ttl_ms: u64) -> New {
    New {
        ttl: Duration::from_millis(ttl_ms),
        mode,
        channel: Channel::Api,
        shared_data: object(json!({ "cart": { "legs": 4 } })),
    }
}

fn shared(value: Value) -> Patch {
    Patch {
        shared_data: object(value),
        ..Patch::default()
    }
}
