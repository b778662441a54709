package oncefiber_test

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/basicauth"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncefiber"
)

// An app that charges once for each key. The store is in memory, for the example; use oncedisk or a
// database.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	guarded, err := oncefiber.New(oncehttp.Config{
		Guard: guard,
		Scope: oncefiber.Scope(func(c fiber.Ctx) (string, error) { return basicauth.UsernameFromContext(c), nil }),
	})
	if err != nil {
		log.Fatal(err)
	}
	charges := 0
	app := fiber.New()
	app.Use(recover.New(), basicauth.New(basicauth.Config{
		Authorizer: func(_, password string, _ fiber.Ctx) bool { return password == "right" },
	}), guarded)
	app.Post("/charges", func(c fiber.Ctx) error {
		charges++
		return c.Status(201).SendString(fmt.Sprintf("charge %d", charges))
	})

	for range 2 {
		r := httptest.NewRequest("POST", "/charges", strings.NewReader(`{"amount": 5}`))
		r.SetBasicAuth("alice", "right")
		r.Header.Set("Idempotency-Key", `"order-1"`)
		res, err := app.Test(r)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		fmt.Printf("%d %s, replayed: %t\n", res.StatusCode, body, oncehttp.Replayed(res))
	}
	// Output:
	// 201 charge 1, replayed: false
	// 201 charge 1, replayed: true
}
