// Package onceredis keeps records in Redis or Valkey: on one server, behind Sentinel, or in a
// Cluster.
//
//	store, err := onceredis.Open(ctx, onceredis.Config{DSN: "redis://localhost:6379"})
//	…
//	defer store.Close()
//	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
//
// Every verb is one script and one round trip: a claim that is won, refused or taken over, a
// replay, a renewal, a completion, a release. A replay of what this process has seen done before
// is a plain read instead. Callers share a few connections, on which concurrent requests
// travel together. Leases and retentions are measured by the server's clock; the client's is never
// read for that. All reads go to the master, and a server that has become a replica refuses them.
//
// # What survives
//
// An acknowledged claim or outcome is remembered as follows. [Store.Guarantees] says the same
// of the servers at hand, and [Store.Doctor] what to change.
//
//	setting                         process killed   power lost   failover
//	appendonly no                   lost             lost         lost
//	appendonly yes, appendfsync
//	  no                            survives         lost         lost
//	  everysec (Redis's default)    lost: 1-2 s      lost: 1-2 s  lost
//	  always                        survives         survives     lost
//	  always, and no-appendfsync-
//	  on-rewrite yes                survives         lost         lost
//
// With everysec a killed process loses what it had been holding back while the disk was
// busy: Redis acknowledges writes it has not yet given to the system then.
//
// There is no failover without replicas, and no promise with them: replication is asynchronous,
// and Redis may make a replica master that has not got all that was acknowledged. Then an
// operation may happen again. Config.MinReplicas waits for replicas to confirm, which makes that
// unlikely; Redis itself does not promise more. Where a second run does harm, let the effect
// check: a transaction with a unique key, a provider that takes once.DerivedID, a resource that
// compares fences. A store for the policy Hold that needs no excuse is one server with appendfsync
// always.
//
// # What the servers need
//
// Redis 6.2 or newer, or Valkey, and the setting maxmemory-policy noeviction: a server that drops
// keys when memory is short drops claims, and [Open] refuses it. When memory is used up, new
// claims are refused with [once.ErrFull], and all that have begun go on to their end.
//
// A user (ACL) needs these rights:
//
//	~once{}:* &once{}:* +evalsha +eval +getex +set +del +setrange +pttl +time +publish +spublish
//	+subscribe +ssubscribe +unsubscribe +sunsubscribe +ping +hello +client +info
//
// and for lists +scan +getrange, to tell guarantees +config|get, for MinReplicas +wait, in a
// Cluster +cluster +asking. Redis 6.2 does not know spublish, ssubscribe and sunsubscribe, nor
// needs them.
//
// # How records are kept
//
// A record is one string key, named
//
//	once{}:<length of the scope>:<scope>:<id>
//
// with Config.Prefix instead of "once". Scope and id are as they are, whatever bytes they have: who can
// list the server's keys can read them. The empty braces spread keys evenly over a Cluster,
// even if ids have braces. The value is binary: 86 bytes of state, and the outcome. Nothing
// else is stored, and nothing has to be migrated or swept: Redis removes what is over.
//
//   - A claim's key has no time to live under the policy Hold, and lease and Forget together
//     under Rerun. It is never removed earlier.
//   - A done record's key lives for the retention.
//
// # Fences
//
// A fence is the server's clock in microseconds when the operation was claimed, and at least one
// more than the last one while its record lives. It grows over releases and expiry as long as
// nobody sets the server's clock back, and over a failover as long as the clocks of the servers
// agree to within the time between the two claims.
package onceredis
