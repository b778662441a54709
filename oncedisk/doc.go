// Package oncedisk keeps records in a directory of one machine, durably.
package oncedisk
