package oncesql

import (
	"context"
	"strings"

	"github.com/oncehq/once"
)

// Doctor asks the database for its settings anew, and returns what is dangerous about them: a
// sentence each, with the way out. The error says that it could not be asked.
func (s *Store) Doctor(ctx context.Context) ([]string, error) {
	_, findings, err := examine(ctx, s.engine)
	return findings, err
}

// Examine says what a database guarantees, and what [Store.Doctor] would find, also where [Open]
// refuses it.
func Examine(ctx context.Context, cfg Config) (once.Guarantees, []string, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return once.Guarantees{}, nil, err
	}
	engine, err := cfg.connect(false)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	defer engine.close()
	return examine(ctx, engine)
}

func examine(ctx context.Context, e engine) (once.Guarantees, []string, error) {
	found, err := e.inspect(ctx)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	var findings []string
	wrong := append(found.wrong, found.loss...)
	if err := checkSchema(ctx, e); err != nil {
		wrong = append(wrong, err)
	}
	for _, err := range wrong {
		text := strings.TrimPrefix(err.Error(), "oncesql: ")
		findings = append(findings, strings.ToUpper(text[:1])+text[1:]+".")
	}
	if found.Failover == once.Lost {
		findings = append(findings, found.Notes[len(found.Notes)-1])
	}
	return found.Guarantees, findings, nil
}
