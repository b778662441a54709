package oncepg

import (
	"strings"
)

// States of a row.
const (
	released = 0 // absent; the row only keeps the fence until it is swept
	claimed  = 1
	done     = 2
)

// statements are the store's, for its schema. Each is one step of the contract's, atomic by
// itself. Only the server's clock appears in them, as clock_timestamp(): now() is that of the
// transaction's start, which may be long over after a wait for a lock.
//
// A row's fence is that of its latest claim, and no two claims have the same: where a statement
// is to act only on a row as it was seen, it compares the fence.
//
// An interval that is NULL is without end; coalesce makes the instant infinity.
type statements struct {
	claiming, txClaiming                       claiming
	renew, complete, free, forget              string
	load, await, watch, list, listScope, sweep string
	txDraw, txInsert, txRecord, txMark         string
	txComplete, txFree, txLook                 string
	ownComplete, ownFree                       string // in a transaction of the caller's own
}

// claiming are the statements of a claim: the first one, and those that may follow. A claim that is
// a transaction of its own draws its fence before it changes the row. One in an operation's
// transaction may have to wait then, for a claim with a higher fence that ends without a trace; so
// it draws the fence when the row is its own, and the fence is written when the operation is
// completed.
type claiming struct {
	claim, reclaim, takeOver string

	confirm bool // what was only read has to be confirmed
}

// seen are the columns of [row], in its order. A statement that ends somebody's turn has {told}
// after it, which the others fill up with NULL.
const seen = `state, attempt, fence, owner, fingerprint, failed, media_type, outcome,
	created, lease_end, expires, clock_timestamp() AS now`

// told notifies those who wait for the turn with this fence to end, if there are any. A commit
// with a notification in it holds a lock that all such commits of the database share until it is
// on disk; so it is sent only if somebody asked for it.
const told = `CASE WHEN awaited = {turn} THEN pg_notify({channel}, encode(sha256(scope || id), 'hex')) IS NULL END`

// durably makes the transaction in which it stands wait for the disk, whatever the settings of its
// session.
const durably = `CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
	THEN set_config('synchronous_commit', 'on', true) END`

// alive is the condition that a row with this key is not absent.
const alive = `scope = $1 AND id = $2 AND state <> 0 AND expires > clock_timestamp()`

// owned is the condition that the caller owns it and there is no outcome.
const owned = `scope = $1 AND id = $2 AND owner = $3 AND state = 1
	AND expires > clock_timestamp()`

func newStatements(schema string) statements {
	name := quoted(schema)
	parts := strings.NewReplacer("{seen}", seen, "{alive}", alive, "{owned}", owned, "{free}", free)
	tell := func(turn string) string {
		return strings.NewReplacer("{turn}", turn, "{channel}", literal(channel(schema))).Replace(told)
	}
	words := strings.NewReplacer(
		"{records}", name+".records",
		"{fence}", "nextval("+literal(name+".fence")+")",
		"{told}", tell("fence"), "{told of $6}", tell("$6::bigint"), "{told of $7}", tell("$7::bigint"),
	)
	of := func(text string) string { return words.Replace(parts.Replace(text)) }
	early := strings.NewReplacer("{next fence}", "{fence}", "{won}", "{seen}").Replace
	late := strings.NewReplacer("{next fence}", "fence", "{won}", strings.Replace(seen, "fence", "{fence}", 1)).Replace
	return statements{
		claiming:   claiming{claim: of(claim), reclaim: of(early(reclaim)), takeOver: of(early(takeOver))},
		txClaiming: claiming{claim: of(txStanding), reclaim: of(late(reclaim)), takeOver: of(late(takeOver))},

		renew: of(renew), complete: of(complete), free: of(freeOwned), forget: of(forget),
		load: of(load), await: of(await), watch: of(watch), sweep: of(sweep),
		list:      of(list + "(scope, id) > ($1::bytea, $2::bytea)" + listEnd),
		listScope: of(list + "scope = $1::bytea AND id > $2::bytea" + listEnd),
		txDraw:    of(txDraw), txInsert: of(txInsert), txRecord: of(txRecord), txMark: of(txMark),
		txComplete: of(txComplete), txFree: of(txFree), txLook: of(txLook),
		ownComplete: of(complete + ", " + durably), ownFree: of(freeOwned + ", " + durably),
	}
}

// literal returns a string for SQL. It has no backslash with a special meaning in front.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// claim wins an absent operation or reads what stands in its way, in one round trip. A replay
// writes nothing, takes no lock and draws no fence: the part that writes is not even begun if
// there is a row. (ON CONFLICT DO UPDATE would lock the row and pay for a commit each time.)
//
// The last column tells the two apart. It returns no row at all if another claim was committed after this statement took its
// snapshot. Then it is repeated, and sees that one.
const claim = `
WITH standing AS MATERIALIZED (
	SELECT {seen}, NULL::boolean FROM {records} WHERE scope = $1 AND id = $2
), mine AS (
	INSERT INTO {records} (scope, id, fingerprint, owner, fence, state, attempt, created, lease_end, forget, expires)
	SELECT $1::bytea, $2::bytea, $3::bytea, $4::uuid, {fence}, 1, 1,
		clock_timestamp(), coalesce(clock_timestamp() + $5::interval, 'infinity'),
		$6::interval, coalesce(clock_timestamp() + $5::interval + $6::interval, 'infinity')
	WHERE NOT EXISTS (SELECT FROM standing)
	ON CONFLICT (scope, id) DO NOTHING
	RETURNING {seen}, true
)
SELECT * FROM mine UNION ALL SELECT * FROM standing`

// reclaim makes a new record of a row that is over, as it was seen.
const reclaim = `
UPDATE {records} SET fingerprint = $3::bytea, owner = $4::uuid, fence = {next fence}, state = 1, attempt = 1,
	failed = false, media_type = NULL, outcome = NULL,
	created = clock_timestamp(), lease_end = coalesce(clock_timestamp() + $5::interval, 'infinity'),
	forget = $6::interval, expires = coalesce(clock_timestamp() + $5::interval + $6::interval, 'infinity')
WHERE scope = $1 AND id = $2 AND fence = $7::bigint AND (state = 0 OR expires <= clock_timestamp())
RETURNING {won}, {told of $7}`

// takeOver gives a record in doubt, as it was seen, to another owner.
const takeOver = `
UPDATE {records} SET owner = $3::uuid, fence = {next fence}, attempt = attempt + 1,
	lease_end = coalesce(clock_timestamp() + $4::interval, 'infinity'),
	forget = $5::interval, expires = coalesce(clock_timestamp() + $4::interval + $5::interval, 'infinity')
WHERE scope = $1 AND id = $2 AND fence = $6::bigint AND state = 1
	AND lease_end <= clock_timestamp() AND expires > clock_timestamp()
RETURNING {won}, {told of $6}`

const renew = `
UPDATE {records} SET lease_end = coalesce(clock_timestamp() + $4::interval, 'infinity'),
	expires = coalesce(clock_timestamp() + $4::interval + forget, 'infinity')
WHERE {owned}
RETURNING CASE WHEN lease_end <= clock_timestamp() THEN {told} END`

const complete = `
UPDATE {records} SET state = 2, failed = $4::boolean, media_type = $5::bytea, outcome = $6::bytea,
	expires = coalesce(clock_timestamp() + $7::interval, 'infinity')
WHERE {owned}
RETURNING {told}`

// free is what releases a row. It stays until it is swept; see there.
const free = `state = 0, fingerprint = NULL, failed = false, media_type = NULL, outcome = NULL,
	expires = clock_timestamp()`

const freeOwned = `UPDATE {records} SET {free} WHERE {owned} RETURNING {told}`

// forget takes away the owner as well: a row without one was not released by its owner.
const forget = `
UPDATE {records} SET {free}, owner = '00000000-0000-0000-0000-000000000000'
WHERE {alive} AND owner = $3::uuid RETURNING {told}`

const load = `SELECT {seen}, NULL::boolean FROM {records} WHERE {alive}`

// await asks to be told when the operation is no longer in flight under this owner. It changes
// nothing, and returns no row, if that is so already.
const await = `
UPDATE {records} SET awaited = fence
WHERE {owned} AND lease_end > clock_timestamp()
RETURNING true`

// watch is await without the mark.
const watch = `SELECT true FROM {records} WHERE {owned} AND lease_end > clock_timestamp()`

// list reads the records after a key, in the order of keys, without their outcomes.
const list = `
SELECT scope, id, state, attempt, fence, owner, fingerprint, failed, media_type, NULL::bytea,
	created, lease_end, expires, clock_timestamp()
FROM {records} WHERE `

const listEnd = ` AND state <> 0 AND expires > clock_timestamp()
	AND created <= clock_timestamp() - $3::interval
	AND $4::integer IN (0, CASE WHEN state = 2 THEN 3 WHEN lease_end > clock_timestamp() THEN 1 ELSE 2 END)
ORDER BY scope, id LIMIT $5::integer`

// sweep removes rows that have been over for an hour, the oldest first, and leaves out those that a
// verb has locked. now() is no later than any clock_timestamp() of this statement, and unlike that
// may be compared by an index.
//
// Until then a row is a mark for two who were held up: a claim that had drawn its fence before the
// last owner drew a higher one must find something in its way; and an owner whose commit's
// reply was lost must find out that it was carried out, however short the retention.
const sweep = `
DELETE FROM {records} WHERE ctid = ANY (ARRAY(
	SELECT ctid FROM {records} WHERE expires <= now() - interval '1 hour' AND expires < 'infinity'
	ORDER BY expires LIMIT $1::integer FOR UPDATE SKIP LOCKED
))`

// txDraw claims in an operation's transaction that has the lock: it draws the fence if there is no
// row. It sets lock_timeout back to what it was before; see [timeouts].
const txDraw = `
SELECT {fence}, clock_timestamp(), set_config('lock_timeout', current_setting('once.lock_timeout'), true)
WHERE NOT EXISTS (SELECT FROM {records} WHERE scope = $1 AND id = $2)`

// txInsert does that where a look does not see all, see [readsAnew]. Such a claim is never forgotten: should
// the operation commit by itself, against the rules, it is in doubt until somebody finds out.
const txInsert = `
INSERT INTO {records} (scope, id, fingerprint, owner, fence, state, attempt, created, lease_end, expires)
VALUES ($1::bytea, $2::bytea, $3::bytea, $4::uuid, 0, 1, 1, clock_timestamp(),
	coalesce(clock_timestamp() + $5::interval, 'infinity'), 'infinity')
ON CONFLICT (scope, id) DO NOTHING
RETURNING {fence}, created, set_config('lock_timeout', current_setting('once.lock_timeout'), true)`

// txStanding reads what stood in the way.
const txStanding = `SELECT {seen}, NULL::boolean FROM {records} WHERE scope = $1 AND id = $2`

// txRecord makes the row of an operation of which there is none yet. It fails, so that the COMMIT
// behind it is not carried out, if there is one: of somebody who did not know the lock.
const txRecord = `
INSERT INTO {records} (scope, id, owner, fence, fingerprint, created, lease_end, attempt, state, failed, media_type, outcome, expires)
VALUES ($1::bytea, $2::bytea, $3::uuid, $4::bigint, $5::bytea, $6::timestamptz, clock_timestamp(), 1, 2,
	$7::boolean, $8::bytea, $9::bytea, coalesce(clock_timestamp() + $10::interval, 'infinity'))`

// txMark does the same for an outcome that is not kept.
const txMark = `
INSERT INTO {records} (scope, id, owner, fence, created, lease_end, attempt, state, expires)
VALUES ($1::bytea, $2::bytea, $3::uuid, $4::bigint, $5::timestamptz, clock_timestamp(), 1, 0, clock_timestamp())`

// txComplete does it where there is a row. It fails, so that the COMMIT behind it is not carried out, if the row is not there.
const txComplete = `
WITH completed AS (
	UPDATE {records} SET state = 2, fence = $4::bigint, failed = $5::boolean, media_type = $6::bytea, outcome = $7::bytea,
		expires = coalesce(clock_timestamp() + $8::interval, 'infinity')
	WHERE scope = $1 AND id = $2 AND owner = $3 AND state = 1
	RETURNING id
)
SELECT 1 / count(*) FROM completed`

// txFree does the same for an outcome that is not kept.
const txFree = `
WITH completed AS (
	UPDATE {records} SET fence = $4::bigint, {free} WHERE scope = $1 AND id = $2 AND owner = $3 AND state = 1
	RETURNING id
)
SELECT 1 / count(*) FROM completed`

// txLook waits for the transaction that has changed the row, if there is one.
const txLook = `SELECT {seen}, NULL::boolean FROM {records} WHERE scope = $1 AND id = $2 FOR UPDATE`
