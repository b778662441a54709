package oncefiber_test

import (
	"fmt"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/valyala/fasthttp"

	"github.com/oncehq/once/oncehttp"
)

// BenchmarkApp compares an app alone, with this middleware and with Fiber's own, whose storage is in
// memory like this one's store: for requests that are new, repeated, and without a key. There is
// no network.
func BenchmarkApp(b *testing.B) {
	const field = "X-Idempotency-Key" // and 36 bytes, is what Fiber's own takes
	none := func(c fiber.Ctx) error { return c.Next() }
	once := func(b *testing.B) fiber.Handler { return guardedBy(b, oncehttp.Config{Headers: []string{field}}) }
	own := func(*testing.B) fiber.Handler { return idempotency.New() }
	for _, bench := range []struct {
		name       string
		middleware func(*testing.B) fiber.Handler
		key        func(i int) string
	}{
		{"bare/new", func(*testing.B) fiber.Handler { return none }, func(i int) string { return fmt.Sprintf("%036d", i) }},
		{"once/new", once, func(i int) string { return fmt.Sprintf("%036d", i) }},
		{"fiber/new", own, func(i int) string { return fmt.Sprintf("%036d", i) }},
		{"once/replay", once, func(int) string { return fmt.Sprintf("%036d", 0) }},
		{"fiber/replay", own, func(int) string { return fmt.Sprintf("%036d", 0) }},
		{"bare/keyless", func(*testing.B) fiber.Handler { return none }, nil},
		{"once/keyless", once, nil},
		{"fiber/keyless", own, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			app := fiber.New()
			app.Use(bench.middleware(b))
			app.Post("/things/:id", func(c fiber.Ctx) error {
				return c.Status(201).JSON(fiber.Map{"id": c.Params("id")})
			})
			handler := app.Handler()
			var req fasthttp.Request
			req.Header.SetMethod("POST")
			req.SetRequestURI("/things/7")
			req.Header.Set("X-User", "alice")
			req.Header.SetContentType("application/json")
			req.SetBodyString(`{"amount":5,"currency":"EUR"}`)
			ctx := new(fasthttp.RequestCtx)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; bench.key != nil {
					req.Header.Set(field, bench.key(i))
				}
				ctx.Init(&req, nil, nil)
				ctx.Response.Reset()
				if handler(ctx); ctx.Response.StatusCode() != 201 {
					b.Fatalf("got %s", &ctx.Response)
				}
			}
		})
	}
}
