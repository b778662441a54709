package stores

import (
	"context"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

func disk() Scheme {
	return Scheme{
		Name:      "disk",
		Form:      "disk:PATH",
		Help:      "in a directory of this machine; survives a crash and a loss of power",
		Directory: diskPath,
		Open: func(_ context.Context, dsn string) (once.Store, error) {
			return oncedisk.Open(oncedisk.Config{Dir: diskPath(dsn)})
		},
	}
}

func diskPath(dsn string) string { return strings.TrimPrefix(dsn, "disk:") }
