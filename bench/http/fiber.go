package main

import (
	"net"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	fiberredis "github.com/gofiber/storage/redis/v3"

	"github.com/oncehq/once/with/oncefiber"
)

// fiberApp returns an app with Fiber's own middleware and its storage in Redis, or with ours.
func fiberApp(kind, redis string) (*fiber.App, error) {
	app := fiber.New()
	if kind == "oncefiber-redis" {
		s, err := openRedis(redis)
		if err != nil {
			return nil, err
		}
		cfg, err := guardedBy(s)
		if err != nil {
			return nil, err
		}
		guarded, err := oncefiber.New(cfg)
		if err != nil {
			return nil, err
		}
		app.Use(guarded)
	} else {
		app.Use(idempotency.New(idempotency.Config{
			Storage:           fiberStorage(redis),
			Lifetime:          24 * time.Hour, // as ours
			KeyHeader:         "Idempotency-Key",
			KeyHeaderValidate: func(string) error { return nil },
		}))
	}
	var next answers
	app.Post("/", func(c fiber.Ctx) error {
		c.Set("Content-Type", "application/json")
		return c.Send(next.body())
	})
	return app, nil
}

// fiberStorage has a connection for each request of 64: with fewer, which is the default, they
// would have to wait.
func fiberStorage(redis string) fiber.Storage {
	host, port, _ := net.SplitHostPort(redis)
	n, _ := strconv.Atoi(port)
	return fiberredis.New(fiberredis.Config{Host: host, Port: n, PoolSize: duplicates})
}
