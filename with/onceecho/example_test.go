package onceecho_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/onceecho"
)

// A server that charges once for each key. The store is in memory, for the example; use oncedisk or
// a database.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	guarded, err := onceecho.New(oncehttp.Config{
		Guard: guard,
		Scope: onceecho.Scope(func(c *echo.Context) (string, error) {
			user, _ := c.Get("user").(string)
			return user, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	authenticate := middleware.BasicAuth(func(c *echo.Context, user, password string) (bool, error) {
		c.Set("user", user)
		return password == "right", nil
	})
	charges := 0
	e := echo.New()
	e.Use(middleware.Recover(), authenticate, guarded)
	e.POST("/charges", func(c *echo.Context) error {
		charges++
		return c.String(201, fmt.Sprintf("charge %d", charges))
	})

	for range 2 {
		r := httptest.NewRequest("POST", "/charges", strings.NewReader(`{"amount": 5}`))
		r.SetBasicAuth("alice", "right")
		r.Header.Set("Idempotency-Key", `"order-1"`)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		fmt.Printf("%d %s, replayed: %t\n", w.Code, w.Body, w.Header().Get("Idempotency-Replayed") == "true")
	}
	// Output:
	// 201 charge 1, replayed: false
	// 201 charge 1, replayed: true
}
