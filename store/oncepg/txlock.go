package oncepg

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
)

// txLock keeps the operation for a transaction until that ends, against the transactions of all
// other claims, and waits for one that has it: as long as lock_timeout says, see [timeouts].
//
// What an operation writes for its own is then a single row, with the outcome, in the end. A row that is
// inserted with the claim and updated with the outcome costs the server a fifth more in all, and
// leaves a dead one.
const txLock = `SELECT pg_advisory_xact_lock($1::bigint)`

// txLockOf names an operation by 64 bits. Operations of which these are the same, if there are any,
// wait for each other as one for itself.
func txLockOf(schema string, k once.Key) int64 {
	d := k.Digest()
	sum := sha256.Sum256(append(d[:], schema...))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// readsAnew reports whether the statements of a transaction see what was committed before each of
// them. Elsewhere a look that comes after the lock does not see what the last one who had it has
// committed; an insertion does, and fails.
func readsAnew(level pgx.TxIsoLevel) bool { return level == pgx.ReadCommitted }
