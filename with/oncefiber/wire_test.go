package oncefiber_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once/oncehttp"
)

// wireHandlers are handlers whose responses must look the same with and without the middleware.
var wireHandlers = []struct {
	name    string
	handler fiber.Handler
}{
	{"nothing", func(fiber.Ctx) error { return nil }},
	{"status alone", func(c fiber.Ctx) error { c.Status(201); return nil }},
	{"status with its text", func(c fiber.Ctx) error { return c.SendStatus(202) }},
	{"text", func(c fiber.Ctx) error { return c.SendString("<html>hello") }},
	{"json", func(c fiber.Ctx) error { return c.Status(201).JSON(fiber.Map{"id": c.Params("id"), "q": c.Query("q")}) }},
	{"location", func(c fiber.Ctx) error { c.Location("/things/7"); return c.SendStatus(201) }},
	{"body of the request", func(c fiber.Ctx) error { return c.Send(c.Body()) }},
	{"binary", func(c fiber.Ctx) error {
		c.Set("Content-Type", "image/png")
		return c.Send([]byte{0, 1, 255, '\r', '\n'})
	}},
	{"no content", func(c fiber.Ctx) error { return c.SendStatus(204) }},
	{"no content with a body", func(c fiber.Ctx) error { return c.Status(204).SendString("ignored") }},
	{"not modified", func(c fiber.Ctx) error { c.Set("Etag", `"x"`); c.Status(304); return nil }},
	{"cookies", func(c fiber.Ctx) error {
		c.Cookie(&fiber.Cookie{Name: "a", Value: "1"})
		c.Cookie(&fiber.Cookie{Name: "b", Value: "2"})
		return c.SendString("baked")
	}},
	{"fields of one name", func(c fiber.Ctx) error {
		c.Response().Header.Add("X-Tag", "one, two")
		c.Response().Header.Add("X-Tag", "three")
		c.Set("X-Empty", "")
		return c.SendString("tagged")
	}},
	{"redirect", func(c fiber.Ctx) error { return c.Redirect().Status(303).To("/things/7") }},
	{"error", func(fiber.Ctx) error { return errors.New("oops") }},
	{"fiber error", func(fiber.Ctx) error { return fiber.NewError(422, "no such thing") }},
	{"error after a body", func(c fiber.Ctx) error { c.SendString("half"); return fiber.ErrConflict }},
	{"no such route", func(c fiber.Ctx) error { return c.Next() }},
	{"connection closed", func(c fiber.Ctx) error { c.Set("Connection", "close"); return c.SendString("bye") }},
	{"large", func(c fiber.Ctx) error { return c.SendString(strings.Repeat("x", 200_000)) }},
	{"beyond the limit", func(c fiber.Ctx) error { return c.SendString(strings.Repeat("x", 2<<20)) }},
	{"stream with its size", func(c fiber.Ctx) error {
		return c.SendStream(struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 9000))}, 9000)
	}},
	{"stream beyond the limit", func(c fiber.Ctx) error {
		return c.SendStream(struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 2<<20))}, 2<<20)
	}},
	{"stream", func(c fiber.Ctx) error { return c.SendStream(struct{ io.Reader }{strings.NewReader("endless")}) }},
	{"stream writer", func(c fiber.Ctx) error {
		return c.SendStreamWriter(func(w *bufio.Writer) {
			for i := range 3 {
				fmt.Fprint(w, i)
				w.Flush()
			}
		})
	}},
	{"events", func(c fiber.Ctx) error {
		c.Set("Content-Type", "text/event-stream")
		return c.SendStreamWriter(func(w *bufio.Writer) { fmt.Fprint(w, "data: tick\n\n") })
	}},
	{"file", func(c fiber.Ctx) error { return c.SendFile("doc.go") }},
	{"unavailable", func(c fiber.Ctx) error { return c.SendStatus(503) }},
}

func TestFirstResponseIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{})
	for _, cfg := range []fiber.Config{{}, {DisableDefaultContentType: true, ServerHeader: "Test", DisableHeaderNormalizing: true}} {
		for _, h := range wireHandlers {
			t.Run(h.name, func(t *testing.T) {
				key := h.name + cfg.ServerHeader
				want := newSite(t, cfg, h.handler).raw(key)
				if got := newSite(t, cfg, h.handler, guarded).raw(key); got != want {
					t.Errorf("with the middleware:\n%.1000q\nwithout:\n%.1000q", got, want)
				}
			})
		}
	}
}

// parse returns a response without what is otherwise in a replay.
func parse(t *testing.T, wire string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wire)), nil)
	if err != nil {
		t.Fatalf("%v: %.300q", err, wire)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Set-Cookie", "Cache-Control", "Idempotency-Replayed", "Connection"} {
		res.Header.Del(name)
	}
	return res, string(body)
}

func TestReplayIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{Keep: oncehttp.KeepAll})
	for _, cfg := range []fiber.Config{{}, {DisableDefaultContentType: true, ServerHeader: "Test"}} {
		for _, h := range wireHandlers {
			t.Run(h.name, func(t *testing.T) {
				s := newSite(t, cfg, h.handler, guarded)
				key := h.name + cfg.ServerHeader
				first, body := parse(t, s.raw(key))
				wire := s.raw(key)
				s.wantRuns(1)
				if !strings.Contains(wire, "\r\nIdempotency-Replayed: true\r\n") || !strings.Contains(wire, "\r\nCache-Control: no-store\r\n") {
					t.Errorf("the replay is not marked: %.500q", wire)
				}
				again, bodyAgain := parse(t, wire)
				switch h.name {
				case "beyond the limit", "stream beyond the limit", "stream", "stream writer", "events":
					if again.StatusCode != 410 || !strings.Contains(bodyAgain, `"originalStatus":200`) {
						t.Errorf("got %d %s", again.StatusCode, bodyAgain)
					}
					return
				}
				if again.StatusCode != first.StatusCode || bodyAgain != body || !reflect.DeepEqual(again.Header, first.Header) {
					t.Errorf("got %d %v %.100q\nwant %d %v %.100q", again.StatusCode, again.Header, bodyAgain, first.StatusCode, first.Header, body)
				}
			})
		}
	}
}
