package oncesql

import "strings"

// States of a row.
const (
	released = 0 // absent; the row only keeps the fence until it is swept
	claimed  = 1
	done     = 2
)

// forever is a duration, in microseconds, and also the least instant, that is without end.
const forever = 4_000_000_000_000_000_000

// A dialect is what an engine says differently.
type dialect struct {
	now      string // the engine's clock in microseconds, the same all through a statement
	clock    string // the same, but not before the moment at which the statement has read
	greatest string // the function that returns the greatest of its arguments
	orElse   string // for INSERT: do nothing if the key is there; empty: that is an error
	orSee    string // for INSERT: return the row, be it new or there before; empty: cannot be done

	// Both make a statement return the fence of the row that it changed; a dialect needs one.
	setFence func(string) string // around what the fence is set to
	fence    string              // at the end of the statement

	together bool // a look and an insertion are sent together; where there is no orSee

	forUpdate string // at the end of a SELECT: wait for a transaction that has changed the row
}

// statements are the store's, each one step of the contract's, atomic by itself. Those that
// change something return the fence of the row they changed, or nothing. Only the engine's clock appears in them.
//
// A row's fence grows with every claim of its key: where a statement is to act only on a row as
// it was seen, it compares the fence.
type statements struct {
	insert, reclaim, takeOver     string
	insertOrSee, lookAll          string // empty: the engine does it in another way
	insertRow                     string // a row of the VALUES of an insertion
	renew, complete, free, forget string
	load, list, nextScope         string
	due, confirm                  string
	txComplete, txFree            string
	txLook                        string
}

// seen are the columns of [row], in its order. What was put in doubt or freed before it was read
// must not be seen with time left; so the clock must not be older than what was read.
const seen = `state, attempt, fence, owner, fingerprint, failed, media_type, outcome,
	created, lease_end, expires, {clock}, {now}`

// owned is the condition that the caller owns a record that is not over and has no outcome.
const owned = `scope = ? AND id = ? AND owner = ? AND state = 1 AND expires > {now}`

func newStatements(d dialect) statements {
	parts := strings.NewReplacer("{seen}", seen, "{owned}", owned, "{free}", free, "{row}", insertRow)
	words := strings.NewReplacer(
		"{now}", d.now, "{clock}", d.clock, "{or else}", d.orElse, "{return fence}", d.fence,
		"{time}", d.setFence(d.now), "{same fence}", d.setFence("fence"), "{this fence}", d.setFence("?"),
		"{greater}", d.greatest+"(fence + 1, "+d.now+")",
		"{greater fence}", d.setFence(d.greatest+"(fence + 1, "+d.now+")"),
	)
	of := func(text string) string { return words.Replace(parts.Replace(text)) }
	st := statements{
		insert: of(insert), reclaim: of(reclaim), takeOver: of(takeOver),
		renew: of(renew), complete: of(complete), free: of(freeOwned), forget: of(forget),
		load: of(load), list: of(list), nextScope: nextScope, due: of(due), confirm: of(confirmation),
		insertRow: of(insertRow), txComplete: of(txComplete), txFree: of(txFree),
		txLook: of(strings.ReplaceAll(parts.Replace(load), "{clock}", "{now}")) + d.forUpdate,
	}
	if d.orSee != "" {
		st.insertOrSee = of(insertValues + d.orSee)
	}
	if d.together {
		st.lookAll = of(strings.Replace(load, "{seen}", "scope, id, {seen}", 1))
	}
	return st
}

// insert claims an absent operation. The fence is the time, so that it is greater than that of
// a row which was there before and was swept; see due.
const insert = insertValues + `{or else} {return fence}`

const insertValues = `
INSERT INTO once_records (scope, id, fingerprint, owner, fence, created, lease_end, forget, expires, state, attempt, failed)
VALUES {row} `

const insertRow = `(?, ?, ?, ?, {time}, {now}, {now} + ?, ?, {now} + ? + ?, 1, 1, 0)`

// reclaim makes a new record of a row that is over, as it was seen. MySQL sets columns one after
// the other, so that created, which is what the fence becomes, must come first.
const reclaim = `
UPDATE once_records SET created = {greater}, fence = {greater fence}, fingerprint = ?, owner = ?, state = 1,
	attempt = 1, failed = 0, media_type = NULL, outcome = NULL, lease_end = {now} + ?, forget = ?, expires = {now} + ? + ?
WHERE scope = ? AND id = ? AND fence = ? AND (state = 0 OR expires <= {now}) {return fence}`

// takeOver gives a record in doubt, as it was seen, to another owner.
const takeOver = `
UPDATE once_records SET fence = {greater fence}, owner = ?, attempt = attempt + 1,
	lease_end = {now} + ?, forget = ?, expires = {now} + ? + ?
WHERE scope = ? AND id = ? AND fence = ? AND state = 1 AND lease_end <= {now} AND expires > {now} {return fence}`

const renew = `
UPDATE once_records SET fence = {same fence}, lease_end = {now} + ?, expires = {now} + ? + forget
WHERE {owned} {return fence}`

const complete = `
UPDATE once_records SET fence = {same fence}, state = 2, lease_end = {now},
	failed = ?, media_type = ?, outcome = ?, expires = {now} + ?
WHERE {owned} {return fence}`

// free is what releases a row. It stays until it is swept; see due.
const free = `fence = {same fence}, state = 0, fingerprint = NULL, failed = 0, media_type = NULL, outcome = NULL,
	expires = {now}`

const freeOwned = `UPDATE once_records SET {free} WHERE {owned} {return fence}`

const forget = `
UPDATE once_records SET {free}
WHERE scope = ? AND id = ? AND owner = ? AND state <> 0 AND expires > {now} {return fence}`

const load = `SELECT {seen} FROM once_records WHERE scope = ? AND id = ?`

// list reads the records of one scope after an id, in the order of ids, without their outcomes.
const list = `
SELECT id, state, attempt, fence, owner, fingerprint, failed, media_type, NULL, created, lease_end, expires, {now}, {now}
FROM once_records
WHERE scope = ? AND id > ? AND state <> 0 AND expires > {now} AND created <= {now} - ?
	AND ? IN (0, CASE WHEN state = 2 THEN 3 WHEN lease_end > {now} THEN 1 ELSE 2 END)
ORDER BY id LIMIT ?`

const nextScope = `SELECT MIN(scope) FROM once_records WHERE scope > ?`

// due finds rows that have been over for an hour, the oldest first.
//
// Until then a row sees to it that the next claim's fence is greater than its own. After that the
// time alone has to: the fence of a key goes back only if the clock is set back by more than an hour. And an
// owner whose commit's reply was lost can find out for an hour that it was carried out, however
// short the retention.
const due = `SELECT scope, id FROM once_records
WHERE expires <= {now} - 3600000000 AND expires < 4000000000000000000 ORDER BY expires LIMIT ?`

// In an operation's transaction, whose settings are the operation's, and whose fence is not yet in the row.
const txComplete = `
UPDATE once_records SET fence = {this fence}, state = 2, lease_end = {now},
	failed = ?, media_type = ?, outcome = ?, expires = {now} + ?
WHERE scope = ? AND id = ? AND owner = ? AND state = 1 {return fence}`

const txFree = `
UPDATE once_records SET fence = {this fence}, state = 0, fingerprint = NULL, failed = 0, media_type = NULL,
	outcome = NULL, expires = {now}
WHERE scope = ? AND id = ? AND owner = ? AND state = 1 {return fence}`
