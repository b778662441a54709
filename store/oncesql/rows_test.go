package oncesql_test

import (
	"context"
	"errors"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// Rows that an operation leaves open stand in the way of MySQL's COMMIT each time that it is run.
func TestOperationThatLeavesRowsOpenIsNotRunAgainAndAgain(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		g, b := guardOver(t, openTransactional(t, cfg)), newBusiness(t, cfg)
		runs := 0
		operation := func(ctx context.Context) (int, error) {
			runs++
			if err := b.add(ctx, "a"); err != nil {
				return 0, err
			}
			tx, _ := oncesql.Tx(ctx)
			rows, err := tx.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
			if err != nil {
				return 0, err
			}
			rows.Next()
			return 0, nil
		}
		_, err := once.Do(t.Context(), g, key("a"), once.Fingerprint{}, operation)
		switch effects := b.count(t, "a"); {
		case err == nil && effects != 1, err != nil && effects != 0:
			t.Errorf("got %v, and %d effects", err, effects)
		case err != nil && (!once.IsNoEffect(err) || errors.Is(err, once.ErrRolledBack)), runs != 1:
			t.Errorf("%d runs, and %v; want one run", runs, err)
		}
	})
}
