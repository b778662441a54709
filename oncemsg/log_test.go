package oncemsg_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// Without an observer nobody would know why a partition stands still.
func TestWhatIsNotDoneIsLogged(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string // in the log
	}{
		"ran":      {nil, ""},
		"held":     {once.NoEffect(fmt.Errorf("one before: %w", oncemsg.ErrNotBegun)), ""},
		"failed":   {errNet, "level=WARN kind=failed error=\"connection reset\""},
		"rejected": {once.Final(errNet), "level=ERROR kind=rejected error=\"connection reset\""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := oncemsg.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
			fails := func(context.Context, oncemsg.Message) error { return test.err }
			newConsumer(t, cfg).Handle(t.Context(), message, fails)
			for _, part := range strings.Split(test.want, " ") {
				if !strings.Contains(log.String(), part) {
					t.Errorf("no %q in the log: %s", part, &log)
				}
			}
			if test.want == "" && log.Len() > 0 || strings.Contains(log.String(), message.Source+" "+message.ID) {
				t.Errorf("logged: %s", &log)
			}
			log.Reset()
			cfg.Observe = func(context.Context, oncemsg.Message, oncemsg.Decision) {}
			if newConsumer(t, cfg).Handle(t.Context(), message, fails); log.Len() > 0 {
				t.Errorf("logged although there is an observer: %s", &log)
			}
		})
	}
}
