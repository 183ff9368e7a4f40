//! The sessions' place in Redis: keys, calls of the scripts, and reading back what they answer.

use std::{sync::Arc, time::Duration};

use redis::{
    FromRedisValue, RedisResult, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Channel, Entry, Error, MAX_DATA_BYTES, MAX_HISTORY, MAX_NAMES, Mode, New, Owner, Patch, Session, Status,
    clock, script::Scripts,
};

const PATIENCE: Duration = Duration::from_secs(1);
/// Unused for longer than this is idle.
const IDLE_AFTER_MS: i64 = 300_000;

/// What a user may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sessions at a time.
    pub per_user: u64,
}

/// The sessions' store. Cheap to clone. It connects when asked, and again after every loss.
#[derive(Clone)]
pub struct Store {
    redis: ConnectionManager,
    scripts: Arc<Scripts>,
    limits: Limits,
}

type Fields = Vec<(String, String)>;

impl Store {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// The client's settings are refused.
    pub fn new(client: redis::Client, limits: Limits) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(Self::over(connection, limits))
    }

    /// A store over a connection that others share.
    #[must_use]
    pub fn over(redis: ConnectionManager, limits: Limits) -> Self {
        Self {
            redis,
            scripts: Arc::new(Scripts::new()),
            limits,
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn check(&self) -> RedisResult<()> {
        redis::cmd("PING").query_async(&mut self.redis.clone()).await
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::TooLarge`], [`Error::Store`].
    pub async fn create(&self, owner: &Owner, new: &New) -> Result<Session, Error> {
        let id = new_id();
        let data = fields(&[('d', &new.shared_data)])?;
        let mut call = self.scripts.create.prepare_invoke();
        begin(&mut call, owner, &id, new.channel);
        call.arg(new.mode.name())
            .arg(u64::try_from(new.ttl.as_millis()).unwrap_or(u64::MAX))
            .arg(self.limits.per_user)
            .arg(MAX_DATA_BYTES);
        call.arg(data);
        self.session(&call, &id).await
    }

    /// The session of this name, used by `channel` from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn get(&self, owner: &Owner, id: &str, channel: Channel) -> Result<Session, Error> {
        let mut call = self.scripts.get.prepare_invoke();
        begin(&mut call, owner, known(id)?, channel);
        self.session(&call, id).await
    }

    /// As `get`, without reading it.
    ///
    /// # Errors
    /// Those of `get`.
    pub async fn touch(&self, owner: &Owner, id: &str, channel: Channel) -> Result<(), Error> {
        let mut call = self.scripts.touch.prepare_invoke();
        begin(&mut call, owner, known(id)?, channel);
        self.run(&call).await.map(drop)
    }

    /// Changes what the session holds.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], [`Error::TooLarge`], [`Error::Store`].
    pub async fn update(
        &self,
        owner: &Owner,
        id: &str,
        channel: Channel,
        patch: &Patch,
    ) -> Result<Session, Error> {
        let data = fields(&[('d', &patch.shared_data), ('w', &patch.workflow_states)])?;
        let mut call = self.change(owner, id, channel, patch.expected_version)?;
        call.arg(data);
        self.session(&call, id).await
    }

    /// Joins a channel to the session, with what it says of itself.
    ///
    /// # Errors
    /// Those of `update`.
    pub async fn join(
        &self,
        owner: &Owner,
        id: &str,
        channel: Channel,
        context: &Map<String, Value>,
    ) -> Result<Session, Error> {
        let context = Map::from_iter([(channel.to_string(), Value::Object(context.clone()))]);
        let data = fields(&[('c', &context)])?;
        let mut call = self.change(owner, id, channel, None)?;
        call.arg(data);
        self.session(&call, id).await
    }

    fn change(
        &self,
        owner: &Owner,
        id: &str,
        channel: Channel,
        version: Option<u64>,
    ) -> Result<ScriptInvocation<'_>, Error> {
        let mut call = self.scripts.update.prepare_invoke();
        begin(&mut call, owner, known(id)?, channel);
        let expected = version.map(|version| version.to_string());
        call.arg(expected.unwrap_or_default()).arg(MAX_DATA_BYTES);
        Ok(call)
    }

    /// Ends the session: it is gone for every channel and replica at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn end(&self, owner: &Owner, id: &str) -> Result<(), Error> {
        let mut call = self.scripts.end.prepare_invoke();
        begin(&mut call, owner, known(id)?, Channel::Api);
        self.run(&call).await.map(drop)
    }

    /// The owner's sessions, the one that ends last first. Being listed is no use of a session.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, owner: &Owner) -> Result<Vec<Session>, Error> {
        let mut redis = self.redis.clone();
        let ids: Vec<String> = redis::cmd("ZREVRANGE")
            .arg(list_key(owner))
            .arg(0)
            .arg(-1)
            .query_async(&mut redis)
            .await?;
        let mut asked = redis::pipe();
        for id in &ids {
            asked.cmd("HGETALL").arg(key(id));
            asked.cmd("LLEN").arg(history_key(id));
        }
        asked.cmd("TIME");
        let answers: Vec<redis::Value> = asked.query_async(&mut redis).await?;
        let Some((time, answers)) = answers.split_last() else {
            return Ok(Vec::new());
        };
        let (now_s, _): (i64, i64) = read(time)?;
        let pairs = ids.iter().zip(answers.chunks_exact(2));
        let found = pairs.filter_map(|(id, answer)| {
            let read = read::<Fields>(&answer[0]).and_then(|fields| Ok((fields, read(&answer[1])?)));
            match read {
                // Expired, and not yet off the list.
                Ok((fields, _)) if fields.is_empty() => None,
                Ok((fields, count)) => Some(session(id, fields, count, now_s * 1000)),
                Err(error) => Some(Err(error)),
            }
        });
        found.collect()
    }

    /// The session's history, the oldest entry first. Reading it is a use of the session.
    ///
    /// # Errors
    /// Those of `get`.
    pub async fn history(&self, owner: &Owner, id: &str, channel: Channel) -> Result<Vec<Entry>, Error> {
        self.touch(owner, id, channel).await?;
        let lines: Vec<String> = redis::cmd("LRANGE")
            .arg(history_key(id))
            .arg(-(MAX_HISTORY as i64))
            .arg(-1)
            .query_async(&mut self.redis.clone())
            .await?;
        let entries = lines.iter().map(|line| entry(line));
        entries
            .map(|entry| entry.ok_or_else(|| Error::Malformed("its history".to_owned())))
            .collect()
    }

    async fn session(&self, call: &ScriptInvocation<'_>, id: &str) -> Result<Session, Error> {
        let answer = self.run(call).await?;
        let [fields, count, now] = answer.as_slice() else {
            return Err(Error::Malformed("the script's answer".to_owned()));
        };
        session(id, read(fields)?, read(count)?, read(now)?)
    }

    /// What a script answers after its first word, which says how it went.
    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<Vec<redis::Value>, Error> {
        let mut answer: Vec<redis::Value> = call.invoke_async(&mut self.redis.clone()).await?;
        let word: String = match answer.is_empty() {
            true => String::new(),
            false => read(&answer.remove(0))?,
        };
        match word.as_str() {
            "ok" => Ok(answer),
            "missing" => Err(Error::NotFound),
            "many" => Err(Error::TooMany {
                limit: self.limits.per_user,
            }),
            "large" => Err(Error::TooLarge {
                limit: MAX_DATA_BYTES,
            }),
            "changed" => Err(Error::Changed {
                version: answer.first().map(read).transpose()?.unwrap_or_default(),
            }),
            _ => Err(Error::Malformed("the script's answer".to_owned())),
        }
    }
}

/// 128 random bits. A UUID of version 4 has 122; the six fixed bits of each are random in the other.
fn new_id() -> String {
    let (one, other) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128());
    format!("{:032x}", one ^ other.rotate_left(64))
}

/// A name that no session can have reaches no key.
fn known(id: &str) -> Result<&str, Error> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() == 32 && id.bytes().all(hex) {
        Ok(id)
    } else {
        Err(Error::NotFound)
    }
}

fn key(id: &str) -> String {
    format!("session:{id}")
}

fn history_key(id: &str) -> String {
    format!("session:{id}:history")
}

/// No tenant has a colon, so that two owners never share a key.
fn list_key(owner: &Owner) -> String {
    format!("sessions:{}:{}", owner.tenant, owner.user)
}

fn begin(call: &mut ScriptInvocation<'_>, owner: &Owner, id: &str, channel: Channel) {
    call.key(key(id)).key(history_key(id)).key(list_key(owner));
    call.arg(&owner.user)
        .arg(&owner.tenant)
        .arg(id)
        .arg(channel.name());
}

/// Fields and their texts, one after the other; `null` is no text, which takes the field away. What no session can
/// hold does not reach Redis, which would do nothing else while it looks at it.
fn fields(parts: &[(char, &Map<String, Value>)]) -> Result<Vec<String>, Error> {
    let large = Error::TooLarge {
        limit: MAX_DATA_BYTES,
    };
    let names: usize = parts.iter().map(|(_, values)| values.len()).sum();
    if names > MAX_NAMES {
        return Err(large);
    }
    let (mut fields, mut bytes) = (Vec::with_capacity(2 * names), 0);
    for (prefix, values) in parts {
        for (name, value) in *values {
            let text = if value.is_null() {
                String::new()
            } else {
                value.to_string()
            };
            let field = format!("{prefix}:{name}");
            if !text.is_empty() {
                bytes += field.len() + text.len();
            }
            if bytes > MAX_DATA_BYTES || field.len() > MAX_DATA_BYTES {
                return Err(large);
            }
            fields.extend([field, text]);
        }
    }
    Ok(fields)
}

fn read<T: FromRedisValue>(value: &redis::Value) -> Result<T, Error> {
    T::from_redis_value_ref(value).map_err(|error| Error::Store(error.into()))
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let (at, kind, channel) = (words.next()?, words.next()?, words.next()?);
    Some(Entry {
        at: clock::rfc3339(at.parse().ok()?),
        kind: kind.to_owned(),
        channel: channel.parse().ok()?,
    })
}

/// A session from its hash.
fn session(id: &str, fields: Fields, event_count: u64, now_ms: i64) -> Result<Session, Error> {
    let (mut contexts, mut data, mut states) = (Map::new(), Map::new(), Map::new());
    let (mut channels, mut own) = (Vec::new(), Map::new());
    for (field, text) in fields {
        match field.split_once(':') {
            Some(("a", channel)) => channels.extend(channel.parse::<Channel>()),
            Some(("c", name)) => put(&mut contexts, name, &text)?,
            Some(("d", name)) => put(&mut data, name, &text)?,
            Some(("w", name)) => put(&mut states, name, &text)?,
            _ => drop(own.insert(field, Value::String(text))),
        }
    }
    channels.sort_by_key(|channel| channel.name());
    let text = |name: &str| own.get(name).and_then(Value::as_str);
    let number = |name: &str| -> Result<i64, Error> {
        let parsed = text(name).and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Error::Malformed(format!("its {name}")))
    };
    let active = number("active")?;
    Ok(Session {
        session_id: id.to_owned(),
        user_id: text("user").unwrap_or_default().to_owned(),
        tenant: text("tenant").unwrap_or_default().to_owned(),
        created_at: clock::rfc3339(number("created")?),
        last_activity: clock::rfc3339(active),
        expires_at: clock::rfc3339(number("ends")?),
        ttl: number("ttl")?.unsigned_abs() / 1000,
        mode: text("mode")
            .and_then(|text| text.parse::<Mode>().ok())
            .ok_or_else(|| Error::Malformed("its mode".to_owned()))?,
        status: if now_ms - active > IDLE_AFTER_MS {
            Status::Idle
        } else {
            Status::Active
        },
        active_channels: channels,
        channel_contexts: contexts,
        shared_data: data,
        workflow_states: states,
        event_count,
        version: number("version")?.unsigned_abs(),
    })
}

fn put(into: &mut Map<String, Value>, name: &str, text: &str) -> Result<(), Error> {
    let value = serde_json::from_str(text).map_err(|_| Error::Malformed(format!("'{name}' in it")))?;
    into.insert(name.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hex_and_use_every_bit() {
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let id = new_id();
            assert!(known(&id).is_ok(), "{id}");
            let bits = u128::from_str_radix(&id, 16).unwrap();
            ones |= bits;
            zeros |= !bits;
        }
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
        for wrong in [
            "",
            "x",
            &"A".repeat(32),
            &"a".repeat(33),
            "../../../../../../../../../../ab",
        ] {
            assert!(known(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_no_session_can_hold_is_refused_before_redis_sees_it() {
        let numbered = |names: usize| -> Map<String, Value> {
            (0..names).map(|name| (name.to_string(), Value::Null)).collect()
        };
        let long = |bytes: usize| Map::from_iter([("n".to_owned(), Value::String("x".repeat(bytes)))]);
        let refused = |parts: &[(char, &Map<String, Value>)]| fields(parts).is_err();
        let half = numbered(MAX_NAMES / 2);
        assert!(!refused(&[('d', &half), ('w', &half)]));
        assert!(refused(&[('d', &numbered(MAX_NAMES)), ('w', &numbered(1))]));
        // `d:n` and two quotes.
        assert!(!refused(&[('d', &long(MAX_DATA_BYTES - 5))]));
        assert!(refused(&[('d', &long(MAX_DATA_BYTES - 4))]));
        let name = Map::from_iter([("x".repeat(MAX_DATA_BYTES), Value::Null)]);
        assert!(refused(&[('d', &name)]));
    }

    #[test]
    fn owners_share_no_list() {
        let of = |tenant: &str, user: &str| {
            list_key(&Owner {
                user: user.to_owned(),
                tenant: tenant.to_owned(),
            })
        };
        assert_ne!(of("a", "b:c"), of("b", "a:c"));
        assert_eq!(of("a", "b:c"), "sessions:a:b:c");
    }
}
