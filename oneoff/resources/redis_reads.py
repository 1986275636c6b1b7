"""Which commands of Redis and its modules only read, where the server itself is not asked.

A server flags them in its answer to COMMAND; these are those of Redis 7.0, those that came later,
and those of the modules that Redis 8 brings along.
"""

from __future__ import annotations

READS = frozenset(
    b"bitcount bitfield_ro bitpos dbsize dump eval_ro evalsha_ro exists expiretime fcall_ro "
    b"geodist geohash geopos georadius_ro georadiusbymember_ro geosearch get getbit getrange "
    b"hexists hget hgetall hkeys hlen hmget hrandfield hscan hstrlen hvals keys lcs lindex llen "
    b"lolwut lpos lrange mget pexpiretime pfcount pttl randomkey scan scard sdiff sinter "
    b"sintercard sismember smembers smismember sort_ro srandmember sscan strlen substr sunion "
    b"touch ttl type xlen xpending xrange xread xrevrange zcard zcount zdiff zinter zintercard "
    b"zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange "
    b"zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion "
    # Since Redis 7.4.
    b"hexpiretime hpexpiretime hpttl httl digest "
    b"vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vsim "
    # Modules.
    b"json.arrindex json.arrlen json.get json.mget json.objkeys json.objlen json.resp json.strlen "
    b"json.type ft._list ft.aggregate ft.explain ft.info ft.search ft.tagvals "
    b"ts.get ts.info ts.mget ts.mrange ts.mrevrange ts.queryindex ts.range ts.revrange "
    b"bf.card bf.exists bf.info bf.mexists cf.count cf.exists cf.info cf.mexists "
    b"cms.info cms.query topk.count topk.info topk.list topk.query "
    b"tdigest.byrank tdigest.cdf tdigest.info tdigest.max tdigest.min tdigest.quantile "
    b"tdigest.rank".split()
)
"""Their names, lower case. What has a second word is in `oneoff.resources.redis_guard.HARMLESS`."""

OF_CONNECTIONS = frozenset(b"client|maint_notifications client|tracking client|caching".split())
"""What drivers say about their own connection when they open it, besides what is harmless."""
