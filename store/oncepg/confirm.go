package oncepg

import (
	"context"

	"github.com/oncehq/once"
)

// A commit that waits for a synchronous standby is on the primary's own disk by then. If the wait
// is cancelled, which also happens when its client gives up, or if the primary is restarted, others
// see what was committed although no standby has it, and a failover would forget it. (PostgreSQL's
// manual, "Synchronous Replication": the transaction "has already committed locally, but might
// not have been replicated to the standby".)
//
// So what was only read is not acknowledged before a commit of one's own that comes after it in
// the log has been confirmed. That is so for a claim that stands already under the same owner, and
// for an outcome.

// confirmation is such a commit: it writes to the log and to no table.
const confirmation = `SELECT pg_logical_emit_message(true, 'once', '')`

func confirmationCall(ctx context.Context, k once.Key) *call {
	return &call{ctx: ctx, key: k, sql: confirmation}
}

// confirm returns nil once a failover that promotes a synchronous standby will not forget anything
// that was read before. It does nothing if there is to be none.
func (s *Store) confirm(ctx context.Context, k once.Key) error {
	if !s.found.synchronous() {
		return nil
	}
	return explain(s.batcher.do(confirmationCall(ctx, k)))
}
