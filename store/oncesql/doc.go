// Package oncesql keeps records in SQL databases.
package oncesql
