package oncesql

import (
	"slices"
	"strconv"
	"strings"
)

// write writes the statements.
func (i *Inserter) write() {
	cfg := i.cfg
	marks := make([]string, len(cfg.Columns))
	for n := range marks {
		marks[n] = i.mark(n)
	}
	returning := strings.Join(cfg.Returning, ", ")
	insert := "INSERT INTO " + cfg.Table + " (" + strings.Join(cfg.Columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
	unlessThere := " ON CONFLICT (" + strings.Join(cfg.Key, ", ") + ") DO NOTHING"
	look := "SELECT FALSE, " + i.each(cfg.Same, i.equal()) + ", " + returning + " FROM " + cfg.Table +
		" WHERE " + i.each(cfg.Key, " = ")

	switch cfg.Database {
	case PostgreSQL:
		// Both parts have the same snapshot: the second does not see what the first has made. It
		// sees nothing either if somebody else made the row after the statement had begun.
		i.insert = "WITH made AS (" + insert + unlessThere + " RETURNING " + returning + ") " +
			"SELECT TRUE, TRUE, made.* FROM made UNION ALL " + look
		i.order = nil // the arguments are numbered, and sent with the first
	case SQLite:
		i.insert, i.look = insert+unlessThere+" RETURNING TRUE, TRUE, "+returning, look
	case MariaDB:
		// Not ON DUPLICATE KEY, which would also take a row of another key for the one that is
		// there. In a transaction only a locking read sees what was committed after it began.
		i.insert, i.look = insert+" RETURNING TRUE, TRUE, "+returning, look+" LOCK IN SHARE MODE"
	case MySQL:
		i.insert, i.look = insert, look+" LOCK IN SHARE MODE"
	}
}

// mark returns the mark of the value of the n-th column.
func (i *Inserter) mark(n int) string {
	if i.cfg.Database == PostgreSQL {
		return "$" + strconv.Itoa(n+1)
	}
	return "?"
}

// equal returns the operator for which NULL equals NULL.
func (i *Inserter) equal() string {
	switch i.cfg.Database {
	case PostgreSQL:
		return " IS NOT DISTINCT FROM "
	case SQLite:
		return " IS "
	}
	return " <=> "
}

// each returns the condition that each of the columns has the value that is given, and notes in
// which order they are asked for.
func (i *Inserter) each(columns []string, operator string) string {
	var terms []string
	for _, column := range columns {
		n := slices.Index(i.cfg.Columns, column)
		i.order = append(i.order, n)
		terms = append(terms, column+operator+i.mark(n))
	}
	return strings.Join(terms, " AND ")
}
