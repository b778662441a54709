// Package oncepg keeps records in PostgreSQL.
package oncepg
