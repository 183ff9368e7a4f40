//! The scripts that write: each is one step of Redis, so that writers on several replicas cannot lose each
//! other's changes. Keys: the session's hash, its history, its owner's list of sessions.
//!
//! Fields of the hash: `user` `tenant` `created` `active` `ends` (ms) `ttl` (ms) `mode` `version` `bytes`, and
//! with a prefix each `a:<channel>` last use (ms), `c:<channel>` context, `d:<name>` shared data,
//! `w:<name>` workflow state; the last three are JSON texts, which Redis never reads.

use redis::Script;

/// `now` in ms, and `note`: one more entry of history (entries' texts are ours alone, so need no escape).
const COMMON: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function note(kind, channel)
  redis.call('RPUSH', KEYS[2], string.format('%d %s %s', now, kind, channel))
  redis.call('LTRIM', KEYS[2], -1000, -1)
end
local function whole()
  return {'ok', redis.call('HGETALL', KEYS[1]), redis.call('LLEN', KEYS[2]), now}
end
";

/// ARGV 1 to 4: user, tenant, session, channel. A session of somebody else is missing, too. Using one marks the
/// channel and, where it slides, moves its end; `keep` gives the history and the list the same end.
const USED: &str = r"
local have = redis.call('HMGET', KEYS[1], 'user', 'tenant', 'mode', 'ttl', 'ends')
if have[1] ~= ARGV[1] or have[2] ~= ARGV[2] then return {'missing'} end
local ends = tonumber(have[5])
if have[3] == 'sliding' then ends = now + tonumber(have[4]) end
local function keep()
  redis.call('PEXPIREAT', KEYS[1], ends)
  redis.call('PEXPIREAT', KEYS[2], ends)
  redis.call('ZADD', KEYS[3], ends, ARGV[3])
  local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', KEYS[3], last[2])
end
local function use()
  if redis.call('HSET', KEYS[1], 'a:' .. ARGV[4], now, 'active', now, 'ends', ends) > 0 then
    note('channel.joined', ARGV[4])
  end
  keep()
end
";

/// The first is refused where it would be more than the limit: {'large'}. ARGV from `first` on are fields and
/// their new texts; an empty text takes the field away.
const WRITE: &str = r"
local function write(first, limit)
  local bytes = tonumber(redis.call('HGET', KEYS[1], 'bytes') or 0)
  for i = first, #ARGV, 2 do
    local had = redis.call('HSTRLEN', KEYS[1], ARGV[i])
    if had > 0 then bytes = bytes - had - #ARGV[i] end
    if #ARGV[i + 1] > 0 then bytes = bytes + #ARGV[i] + #ARGV[i + 1] end
  end
  if bytes > limit then return false end
  for i = first, #ARGV, 2 do
    if #ARGV[i + 1] > 0 then
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    else
      redis.call('HDEL', KEYS[1], ARGV[i])
    end
  end
  redis.call('HSET', KEYS[1], 'bytes', bytes)
  redis.call('HINCRBY', KEYS[1], 'version', 1)
  return true
end
";

/// ARGV 5 to 8: mode, ttl in ms, sessions that one user may have, bytes that one may hold; then fields.
const CREATE: &str = r"
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[7]) then return {'many'} end
local ends = now + tonumber(ARGV[6])
redis.call('HSET', KEYS[1], 'user', ARGV[1], 'tenant', ARGV[2], 'mode', ARGV[5], 'ttl', ARGV[6],
  'created', now, 'active', now, 'ends', ends, 'version', 0, 'a:' .. ARGV[4], now)
if not write(9, tonumber(ARGV[8])) then
  redis.call('DEL', KEYS[1])
  return {'large'}
end
note('session.created', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ends)
redis.call('PEXPIREAT', KEYS[2], ends)
redis.call('ZADD', KEYS[3], ends, ARGV[3])
local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[3], last[2])
return whole()
";

/// ARGV 5 and 6: the expected version or nothing, bytes that it may hold; then fields.
const UPDATE: &str = r"
local version = redis.call('HGET', KEYS[1], 'version')
if ARGV[5] ~= '' and ARGV[5] ~= version then return {'changed', version} end
if not write(7, tonumber(ARGV[6])) then return {'large'} end
note('session.updated', ARGV[4])
use()
return whole()
";

const END: &str = r"
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[3])
return {'ok'}
";

/// All scripts, compiled once.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) create: Script,
    pub(crate) get: Script,
    pub(crate) touch: Script,
    pub(crate) update: Script,
    pub(crate) end: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        let of = |parts: &[&str]| Script::new(&parts.concat());
        Self {
            create: of(&[COMMON, WRITE, CREATE]),
            get: of(&[COMMON, USED, "use()\nreturn whole()"]),
            touch: of(&[COMMON, USED, "use()\nreturn {'ok'}"]),
            update: of(&[COMMON, USED, WRITE, UPDATE]),
            end: of(&[COMMON, USED, END]),
        }
    }
}
