package oncesql

import (
	"errors"
	"fmt"

	"github.com/oncehq/once"
)

// settings are what an engine says of itself that matters to whether it keeps its word.
type settings struct {
	once.Guarantees

	packet  int // of MySQL: the largest that may be sent
	mariadb bool
	early   bool // what is committed is to be seen before it is on disk

	// wrong is what the database cannot be used with.
	wrong []error

	// loss is what lets it forget what it acknowledged.
	loss []error
}

func (s *settings) refusef(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Errorf("oncesql: the server "+format, args...))
}

// lossf is for a setting because of which a claim may not survive the loss of power.
func (s *settings) lossf(format string, args ...any) {
	s.Power = once.Lost
	s.loss = append(s.loss, fmt.Errorf("oncesql: the server "+format, args...))
	s.notef("The server "+format+".", args...)
}

func (s *settings) notef(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// refuse returns everything because of which the database cannot be used, joined.
func (s *settings) refuse(cfg Config) error {
	if cfg.DangerouslyAllowLoss {
		return errors.Join(s.wrong...)
	}
	return errors.Join(append(s.wrong, s.loss...)...)
}
