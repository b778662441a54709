package oncefiber

import (
	"net/http"
	"strings"
)

// A copier copies a header of fasthttp into memory of its own, which is few pieces for the whole
// header: fasthttp uses its memory again.
type copier struct {
	header http.Header
	memory strings.Builder
	values []string
}

// The number of fields and the size of a header for which memory is set aside when it has any.
const (
	usualFields = 8
	usualSize   = 400
)

func (c *copier) add(name string, value []byte) {
	v := c.hold(value)
	if earlier := c.header[name]; earlier != nil {
		c.header[name] = append(earlier, v)
		return
	}
	if c.values == nil {
		c.values = make([]string, 0, usualFields)
	}
	at := len(c.values)
	c.values = append(c.values, v)
	c.header[name] = c.values[at : at+1 : at+1] // another value of the name is put elsewhere
}

// hold returns p as a string that stays.
func (c *copier) hold(p []byte) string {
	if c.memory.Cap() == 0 {
		c.memory.Grow(usualSize)
	}
	at := c.memory.Len()
	c.memory.Write(p)
	return c.memory.String()[at:]
}
