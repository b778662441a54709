package oncefiber

import (
	"reflect"

	"github.com/gofiber/fiber/v3"
)

// A state is what a fiber.Ctx was before its handlers were run. Fiber cannot run handlers twice: its
// place among them only moves on. But a context that is given back its old content can.
type state struct {
	content reflect.Value // invalid: there is something that cannot be given back
}

func keep(c fiber.Ctx) *state {
	v := reflect.ValueOf(c)
	if v.Kind() != reflect.Pointer || !embeds(v.Type().Elem()) {
		return new(state)
	}
	s := &state{reflect.New(v.Type().Elem()).Elem()}
	s.content.Set(v.Elem())
	return s
}

// embeds reports whether the type is fiber.DefaultCtx or embeds it, and not a pointer to it.
func embeds(t reflect.Type) bool {
	if t == reflect.TypeFor[fiber.DefaultCtx]() {
		return true
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for f := range t.Fields() {
		if f.Anonymous && embeds(f.Type) {
			return true
		}
	}
	return false
}

// restore makes the context what it was, as often as is needed, or reports that it cannot.
func (s *state) restore(c fiber.Ctx) bool {
	if !s.content.IsValid() {
		return false
	}
	reflect.ValueOf(c).Elem().Set(s.content)
	return true
}
