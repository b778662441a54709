package oncefiber_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// rollsBack is a store whose transactions are rolled back so many times.
type rollsBack struct {
	once.Store
	times int
}

func (s *rollsBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	if s.times == 0 {
		return s.Store.Complete(ctx, k, o, out, d)
	}
	s.times--
	if err := s.Store.Release(ctx, k, o); err != nil {
		return err
	}
	return once.ErrRolledBack
}

// ownCtx is a context of one's own as Fiber's documentation has it.
type ownCtx struct{ fiber.DefaultCtx }

// pointing cannot be run again.
type pointing struct{ *fiber.DefaultCtx }

func TestRolledBackTransactionIsRunAgain(t *testing.T) {
	t.Parallel()
	apps := map[string]*fiber.App{
		"usual": fiber.New(),
		"own":   fiber.NewWithCustomCtx(func(app *fiber.App) fiber.CustomCtx { return &ownCtx{*fiber.NewDefaultCtx(app)} }),
	}
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			store := &rollsBack{new(oncemem.Store), 2}
			s := &site{t: t, app: app}
			var seen []string
			s.serve(func(c fiber.Ctx) error {
				seen = append(seen, fmt.Sprint(c.GetRespHeader("X-Outside"), c.GetRespHeader("X-Run"), c.Response().StatusCode(), string(c.Response().Body())))
				c.Set("X-Run", "1")
				c.Status(201).SendString(c.Params("id") + string(c.Body()))
				if store.times == 1 {
					return errors.New("rolled back as well")
				}
				return nil
			}, func(c fiber.Ctx) error { c.Set("X-Outside", "1"); return c.Next() },
				guardedBy(t, oncehttp.Config{Keep: oncehttp.KeepAll, Guard: newGuard(t, once.Config{Store: store})}),
				func(c fiber.Ctx) error { return c.Next() })
			a := s.post("/things/7", "k", "hello")
			if a.status != 201 || a.body != "7hello" || a.header.Get("X-Outside") != "1" {
				t.Errorf("got %+v", a)
			}
			if want := []string{"1200", "1200", "1200"}; !slices.Equal(seen, want) {
				t.Errorf("the runs found %q", seen)
			}
			s.wantRuns(3)
			store.times = 1000
			if a := s.post("/things/7", "k2", "hello"); a.status != 503 || a.problem() != "rolled-back" {
				t.Errorf("got %+v", a)
			}
			s.wantRuns(3 + 11)
		})
	}
}

func TestContextThatCannotBeGivenBackIsNotRunAgain(t *testing.T) {
	t.Parallel()
	store := &rollsBack{new(oncemem.Store), 1}
	s := &site{t: t, app: fiber.NewWithCustomCtx(func(app *fiber.App) fiber.CustomCtx { return &pointing{fiber.NewDefaultCtx(app)} })}
	s.serve(created, guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}))
	if a := s.post("/things/7", "k", ""); a.status != 503 || !strings.Contains(a.body, "same key") || a.header.Get("Location") != "" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
	if a := s.post("/things/7", "k", ""); a.status != 201 || a.body != "thing 7" {
		t.Errorf("got %+v", a)
	}
}
