package stores

import (
	"context"
	"errors"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func memory() Scheme {
	return Scheme{
		Name: "memory",
		Form: "memory:",
		Help: "in this process; forgets everything at its end",
		Open: func(_ context.Context, dsn string) (once.Store, error) {
			if strings.TrimPrefix(dsn, "memory") != "" && dsn != "memory:" {
				return nil, errors.New("has no options; write memory: and nothing else")
			}
			return new(oncemem.Store), nil
		},
	}
}
