package oncegin

import (
	"maps"
	"reflect"

	"github.com/gin-gonic/gin"
)

// A state is what a gin.Context was before its handlers were run. Gin cannot run handlers twice:
// its index among them only grows. But a context that is given back its old content can, and
// reflection may copy what is in it where an assignment would copy its lock, which nobody holds
// then.
type state struct {
	content reflect.Value
	keys    map[any]any
}

func keep(c *gin.Context) *state {
	v := reflect.ValueOf(c).Elem()
	s := &state{reflect.New(v.Type()).Elem(), maps.Clone(c.Keys)}
	s.content.Set(v)
	return s
}

// restore makes the context what it was, as often as is needed.
func (s *state) restore(c *gin.Context) {
	reflect.ValueOf(c).Elem().Set(s.content)
	c.Keys = maps.Clone(s.keys)
}
