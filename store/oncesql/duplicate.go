package oncesql

import (
	"reflect"
	"slices"
	"strings"
)

// Duplicate reports whether a statement failed because a row would have been there twice, and by
// which constraint or unique index: so that "done already" can be told from "failed". Always look
// at the constraint: that an email address is taken is no sign that the request was seen before.
//
//	_, err := db.ExecContext(ctx, "INSERT INTO payments (request_id, …) VALUES (…)")
//	if constraint, dup := oncesql.Duplicate(err); dup && constraint == "payments_request_id_key" { … }
//
// It knows the errors of PostgreSQL and what speaks its protocol (pgx, lib/pq), MySQL and MariaDB
// (go-sql-driver), SQLite (modernc, mattn, ncruces) and SQL Server (go-mssqldb), however deeply they are
// wrapped, without depending on any of these drivers: it looks at the codes that they publish in fields
// and methods, and never at the text, to decide.
//
// PostgreSQL gives the constraint's name as such. The others have it only in the text: MySQL as
// "table.key" (MariaDB: "key"), SQL Server as its name, SQLite as the columns, "table.a, table.b".
// Where the text does not have it, the constraint is empty.
func Duplicate(err error) (constraint string, dup bool) {
	switch e := err.(type) {
	case nil:
		return "", false
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if constraint, dup := Duplicate(inner); dup {
				return constraint, dup
			}
		}
		return "", false
	case interface{ Unwrap() error }:
		if constraint, dup := duplicate(err); dup {
			return constraint, dup
		}
		return Duplicate(e.Unwrap())
	}
	return duplicate(err)
}

// duplicate is Duplicate for one error, as it is.
func duplicate(err error) (string, bool) {
	for _, driver := range []func(error) (string, bool){
		postgresDuplicate, mssqlDuplicate, mysqlDuplicateKey, sqliteDuplicate,
	} {
		if constraint, dup := driver(err); dup {
			return constraint, true
		}
	}
	return "", false
}

// postgresDuplicate knows pgx's *pgconn.PgError and lib/pq's *pq.Error by SQLSTATE 23505
// (unique_violation). An exclusion constraint's 23P01 is not about equal rows.
func postgresDuplicate(err error) (string, bool) {
	e, ok := err.(interface{ SQLState() string })
	if !ok || e.SQLState() != "23505" {
		return "", false
	}
	for _, name := range []string{"ConstraintName", "Constraint"} {
		if f := field(err, name); f.Kind() == reflect.String {
			return f.String(), true
		}
	}
	return "", true
}

// mssqlDuplicate knows go-mssqldb's mssql.Error by number: 2627 is a constraint's, 2601 an
// index's.
func mssqlDuplicate(err error) (string, bool) {
	e, ok := err.(interface {
		SQLErrorNumber() int32
		SQLErrorMessage() string
	})
	if !ok {
		return "", false
	}
	quoted := strings.Split(e.SQLErrorMessage(), "'") // every other part stands in quotes
	switch number := e.SQLErrorNumber(); {
	case number == 2627 && len(quoted) > 1:
		return quoted[1], true // … constraint 'name'. Cannot insert … in object 'table'. …
	case number == 2601 && len(quoted) > 3:
		return quoted[3], true // … in object 'table' with unique index 'name'. …
	case number == 2627 || number == 2601:
		return "", true
	}
	return "", false
}

// mysqlDuplicateKey knows go-sql-driver's *mysql.MySQLError by number: ER_DUP_KEY, ER_DUP_ENTRY,
// ER_DUP_UNIQUE, ER_DUP_ENTRY_WITH_KEY_NAME and ER_DUP_UNKNOWN_IN_INDEX.
func mysqlDuplicateKey(err error) (string, bool) {
	number, message := field(err, "Number"), field(err, "Message")
	if number.Kind() != reflect.Uint16 || message.Kind() != reflect.String ||
		!slices.Contains([]uint64{1022, 1062, 1169, 1586, 1859}, number.Uint()) {
		return "", false
	}
	// Duplicate entry 'value' for key 'name'. The value comes first and may hold anything.
	text, found := strings.CutSuffix(message.String(), "'")
	if at := strings.LastIndexByte(text, '\''); found && at >= 0 {
		return text[at+1:], true
	}
	return "", true
}

// sqliteDuplicate knows the errors of modernc by Code, ncruces by ExtendedCode and mattn by its field of that name:
// SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE and _ROWID (https://sqlite.org/rescode.html).
func sqliteDuplicate(err error) (string, bool) {
	code, known := int64(0), false
	if e, ok := err.(interface{ Code() int }); ok {
		code, known = int64(e.Code()), true
	}
	for _, v := range []reflect.Value{field(err, "ExtendedCode"), returned(err, "ExtendedCode")} {
		switch {
		case known:
		case v.CanInt():
			code, known = v.Int(), true
		case v.CanUint():
			code, known = int64(v.Uint()), true
		}
	}
	if !known || !slices.Contains([]int64{1555, 2067, 2579}, code) {
		return "", false
	}
	_, columns, _ := strings.Cut(err.Error(), "UNIQUE constraint failed: ")
	columns, _, _ = strings.Cut(columns, " (") // modernc ends with the code
	return columns, true
}

// field returns the exported field of the error, or of what it points to, or the zero Value.
func field(err error, name string) reflect.Value {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	if f, ok := v.Type().FieldByName(name); !ok || !f.IsExported() || len(f.Index) > 1 {
		return reflect.Value{}
	}
	return v.FieldByName(name)
}

// returned returns what the error's method without arguments returns, or the zero Value.
func returned(err error, method string) reflect.Value {
	m := reflect.ValueOf(err).MethodByName(method)
	if !m.IsValid() || m.Type().NumIn() != 0 || m.Type().NumOut() != 1 {
		return reflect.Value{}
	}
	return m.Call(nil)[0]
}
