package rpc

import (
	"errors"
	"fmt"

	"github.com/oncehq/once/oncehttp"
)

// maxKey is the longest key, as over HTTP.
const maxKey = 255

var (
	errKeyLines = errors.New("it is given more than once; send one")
	errKeySize  = fmt.Errorf("it must have 1 to %d bytes", maxKey)
)

// KeyIn returns the key in the values of a header or of metadata, or "" if there is none.
func KeyIn(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return oncehttp.ParseKey(values[0], false)
	}
	return "", errKeyLines
}

// CheckKey reports what is wrong with a key that was not read by [KeyIn].
func CheckKey(key string) error {
	if len(key) < 1 || len(key) > maxKey {
		return errKeySize
	}
	return nil
}
