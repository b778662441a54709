package oncesql

import (
	"context"
	"fmt"
	"strings"

	"github.com/oncehq/once"
)

// claimTogether makes those of the claims that part names, in MySQL. It has no RETURNING, so a look
// at the rows and the insertion of all of them travel together, as statements of their own.
//
// A claim is one of the two, and so is atomic as they are. If the insertion made the row, that was
// the claim, whatever was seen before. If it made none, the row that was seen is what stood in the way at
// the moment of the look. If none was seen either, somebody was faster or stood in the way of
// another row of the batch, and that claim takes another round.
func (s *Store) claimTogether(
	ctx context.Context, e *mysqlEngine, claims []once.Claim, results []once.ClaimResult, part []int,
) error {
	ctx, cancel, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	// Whatever makes another round necessary is the success of another claim; so there is an end
	// to them.
	var unsure []int
	for len(part) > 0 {
		seen, fence, err := e.lookAndInsert(ctx, &s.sql, claims, part)
		var rest []int
		for _, i := range part {
			c, r, result := claims[i], seen[claims[i].Key], &results[i]
			switch {
			case err != nil:
				result.Err = explain(err)
			case fence != 0:
				result.Record = won(c, c.Fingerprint, 1, fence, fence) // the fence is the time
			case r == nil:
				rest = append(rest, i)
			default:
				var settled bool
				result.Record, settled, result.Err = s.contest(ctx, c, r)
				switch {
				case result.Err != nil:
				case !settled:
					rest = append(rest, i)
				case s.unsure(c, r, result.Record):
					unsure = append(unsure, i)
				}
			}
		}
		part = rest
	}
	s.confirmThese(ctx, results, unsure)
	return nil
}

// lookAndInsert returns the rows of the claims that part names, as they were before it inserted
// rows of all these claims, and the fence of those. That is zero if one could not be inserted, and
// then none was.
func (e *mysqlEngine) lookAndInsert(
	ctx context.Context, st *statements, claims []once.Claim, part []int,
) (seen map[once.Key]*row, fence int64, err error) {
	var keys, values []any
	for _, i := range part {
		keys = append(keys, []byte(claims[i].Key.Scope), []byte(claims[i].Key.ID))
		values = append(values, insertArgs(claims[i])...)
	}
	more := len(part) - 1
	text := st.lookAll + strings.Repeat(" OR scope = ? AND id = ?", more) + "; " +
		strings.Replace(st.insert, st.insertRow, st.insertRow+strings.Repeat(", "+st.insertRow, more), 1) +
		"; SELECT LAST_INSERT_ID()"
	err = untilItStands(ctx, func() error {
		seen, fence, err = e.lookAndInsertOnce(ctx, text, append(keys, values...))
		return err
	})
	return seen, fence, err
}

func (e *mysqlEngine) lookAndInsertOnce(
	ctx context.Context, text string, args []any,
) (seen map[once.Key]*row, fence int64, err error) {
	rows, err := e.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	if seen, err = keyed(rows); err != nil {
		return nil, 0, err
	}
	// The driver passes over the insertion, which has no rows, or fails with its error.
	if rows.NextResultSet() && rows.Next() {
		err := rows.Scan(&fence)
		return seen, fence, err
	}
	switch err := rows.Err(); {
	case mysqlNumber(err) == mysqlDuplicate:
		return seen, 0, nil
	case err != nil:
		return nil, 0, err
	}
	return nil, 0, fmt.Errorf("oncesql: the server did not say what came of an insertion")
}
