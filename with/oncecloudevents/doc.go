// Package oncecloudevents handles CloudEvents once.
package oncecloudevents
