// Package oncesql keeps records in SQL databases by way of database/sql: SQLite files, and MySQL
// 8 or MariaDB 10.6 and newer.
//
// A [Store] claims with a lease. A [Transactional] store claims in a transaction that the
// operation finds in its context ([Tx]): what it does there is committed together with its
// outcome or not at all, so its effects in that database happen exactly once. With SQLite, which
// lets one transaction write at a time, such operations run one after the other.
//
// Nothing is created silently: [Migrate] makes the tables, or [Schema] returns the SQL.
//
// [Inserter] and [Duplicate] are for programs that rely on a unique constraint of their own instead
// of a store, also in PostgreSQL. An Inserter answers a repeated request with the row that it made
// before; Duplicate tells a row that is there already from any other failure, whichever driver is
// used.
package oncesql
