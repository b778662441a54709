package oncepg

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
)

// Doctor asks the server for its settings anew, and returns what is dangerous about them: a
// sentence each, with the way out. The error says that it could not be asked.
func (s *Store) Doctor(ctx context.Context) ([]string, error) {
	_, findings, err := examine(ctx, s.pool, s.cfg)
	return findings, err
}

// Examine says what a server guarantees, and what [Store.Doctor] would find, also where [Open]
// refuses the server.
func Examine(ctx context.Context, cfg Config) (once.Guarantees, []string, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return once.Guarantees{}, nil, err
	}
	pool, done, err := cfg.connect(ctx, func(*pgxpool.Config) {})
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	defer done()
	return examine(ctx, pool, cfg)
}

func examine(ctx context.Context, pool *pgxpool.Pool, cfg Config) (once.Guarantees, []string, error) {
	found, err := inspect(ctx, pool)
	if err != nil {
		return once.Guarantees{}, nil, explain(err)
	}
	var findings []string
	report := func(text string) { findings = append(findings, text) }
	if err := found.refuse(cfg); err != nil {
		for line := range strings.Lines(err.Error()) {
			report("T" + strings.TrimPrefix(strings.TrimSpace(line), "oncepg: t") + ".")
		}
	}
	if err := checkSchema(ctx, pool, cfg.Schema); err != nil {
		report("S" + strings.TrimPrefix(err.Error(), "oncepg: s") + ".")
	}
	if !found.fullPageWrites {
		report("full_page_writes is off: set it on, unless the file system never tears a page.")
	}
	if !found.durable() {
		report("synchronous_commit is " + found.syncCommit + " for this role: the store sets it on for its own " +
			"transactions, but nobody else's are as safe; set it on.")
	}
	if found.replicated() && !found.synchronous() {
		report("Replication is asynchronous: a failover may forget the last claims; set synchronous_standby_names.")
	}
	if !found.autovacuum {
		report("autovacuum is off: every completion leaves a dead row that only vacuum removes; set it on.")
	}
	return found.guarantees(), findings, nil
}
