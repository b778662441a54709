package oncenats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Migrate makes the stream, or changes an existing one so that it can keep records. What the store
// has no opinion about it leaves as it is; Config.Replicas and Config.MaxBytes change only if they
// are set. It may be run again at any time.
func Migrate(ctx context.Context, cfg Config) error {
	s, err := reach(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := s.describe(ctx)
	if e, ok := errors.AsType[*jsError](err); ok && e.Number == codeStreamNotFound {
		if s.cfg.Replicas == 0 && s.wire.nc.ConnectedClusterName() != "" {
			s.cfg.Replicas = 3
		}
		return s.configure(ctx, "STREAM.CREATE.", s.target.newStream(s.cfg))
	}
	if err != nil {
		return err
	}
	next := d.Config
	s.target.demand(&next, s.cfg)
	if reflect.DeepEqual(next, d.Config) {
		return nil
	}
	return s.configure(ctx, "STREAM.UPDATE.", next)
}

// Schema returns the configuration of the stream that [Migrate] makes where there is none, as JSON
// that the command nats stream add --config takes too.
func Schema(cfg Config) (string, error) {
	target, err := ParseDSN(cfg.DSN)
	cfg = cfg.merge(target.config)
	if err := errors.Join(err, cfg.check()); err != nil {
		return "", err
	}
	var text strings.Builder
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	err = out.Encode(target.newStream(cfg))
	return text.String(), err
}

// newStream returns the configuration of a new stream.
func (t Target) newStream(cfg Config) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:         t.Stream,
		Description:  "Records of Once. Messages must not be removed by hand: operations would happen again.",
		Retention:    jetstream.LimitsPolicy,
		Storage:      jetstream.FileStorage,
		MaxConsumers: -1,
		MaxMsgs:      -1,
		MaxBytes:     -1,
		MaxMsgSize:   -1,
		Replicas:     1,
	}
	t.demand(&c, cfg)
	return c
}

// demand sets what the store needs.
func (t Target) demand(c *jetstream.StreamConfig, cfg Config) {
	c.Subjects = []string{t.subjects() + ">"}
	c.MaxMsgsPerSubject = 1
	c.Discard = jetstream.DiscardNew
	c.DiscardNewPerSubject = false
	c.MaxAge = 0
	c.NoAck = false
	c.AllowMsgTTL = true
	c.SubjectDeleteMarkerTTL = 0
	c.SubjectTransform = nil
	c.RePublish = &jetstream.RePublish{Source: t.subjects() + ">", Destination: t.told() + ">", HeadersOnly: true}
	c.Replicas = cmp.Or(cfg.Replicas, c.Replicas)
	c.MaxBytes = cmp.Or(cfg.MaxBytes, c.MaxBytes)
}

func (s *Store) configure(ctx context.Context, request string, c jetstream.StreamConfig) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("oncenats: %w", err)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	m, err := s.wire.wait(ctx, s.wire.send(&nats.Msg{Subject: s.target.api(request + s.target.Stream), Data: body}, nil))
	if err == nil {
		err = apiError(m.Data)
	}
	return explain("stream "+s.target.Stream, err)
}
