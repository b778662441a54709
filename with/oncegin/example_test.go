package oncegin_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncegin"
)

// A router that charges once for each key. The store is in memory, for the example; use oncedisk or
// a database.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	guarded, err := oncegin.New(oncehttp.Config{
		Guard: guard,
		Scope: oncegin.Scope(func(c *gin.Context) (string, error) { return c.GetString("user"), nil }),
	})
	if err != nil {
		log.Fatal(err)
	}
	authenticate := func(c *gin.Context) {
		user, password, _ := c.Request.BasicAuth()
		if password != "right" {
			c.AbortWithStatus(401)
			return
		}
		c.Set("user", user)
	}
	charges := 0
	router := gin.New()
	router.Use(gin.Recovery(), authenticate, guarded)
	router.POST("/charges", func(c *gin.Context) {
		charges++
		c.JSON(201, gin.H{"charge": charges})
	})

	for range 2 {
		r := httptest.NewRequest("POST", "/charges", strings.NewReader(`{"amount": 5}`))
		r.SetBasicAuth("alice", "right")
		r.Header.Set("Idempotency-Key", `"order-1"`)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		fmt.Printf("%d %s replayed: %t\n", w.Code, w.Body, w.Header().Get("Idempotency-Replayed") == "true")
	}
	// Output:
	// 201 {"charge":1} replayed: false
	// 201 {"charge":1} replayed: true
}
