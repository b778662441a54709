package stores

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

// CheckDirectory reports that there is no store in a directory, in which one would be made if it were
// opened.
func CheckDirectory(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("there is no store: %w; say where it is with --store, or in ONCE_STORE", err)
	}
	return nil
}

func disk() Scheme {
	return Scheme{
		Name:      "disk",
		Form:      "disk:PATH",
		Help:      "in a directory of this machine; survives a crash and a loss of power",
		Directory: diskPath,
		Open: func(_ context.Context, dsn string) (once.Store, error) {
			return oncedisk.Open(oncedisk.Config{Dir: diskPath(dsn)})
		},
		Examine: func(_ context.Context, dsn string, say Say) (once.Guarantees, error) {
			dir := diskPath(dsn)
			if err := CheckDirectory(dir); err != nil {
				return once.Guarantees{}, err
			}
			r, err := oncedisk.Check(dir)
			if err == nil {
				tell(r, say)
				err = r.Err()
			}
			return new(oncedisk.Store).Guarantees(), err
		},
		Salvage: func(_ context.Context, dsn, to string, say Say) error {
			r, err := oncedisk.Salvage(diskPath(dsn), to)
			if err == nil {
				say("copied to %s", to)
				tell(r, say)
			}
			return err
		},
	}
}

func diskPath(dsn string) string { return strings.TrimPrefix(dsn, "disk:") }

// tell tells what was found in the directory.
func tell(r oncedisk.Report, say Say) {
	say("%d segments, %d bytes, %d entries", r.Segments, r.Bytes, r.Entries)
	say("records: %d in flight, %d in doubt, %d done, %d over and not yet deleted", r.InFlight, r.InDoubt, r.Done, r.Over)
	if r.Unfinished {
		say("the log ends in a batch that was not acknowledged; it goes when the store is opened")
	}
	if r.Rescans > 0 {
		say("%d segments are scanned when the store is opened, which takes longer", r.Rescans)
	}
	if n := len(r.Damage); n > 0 {
		say("damaged stretches: %d", n)
	}
}
