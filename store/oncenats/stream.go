package oncenats

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A stream is what the servers say of the stream.
type stream struct {
	jetstream.StreamInfo
	version string // of the server that the store is connected to
}

// describe asks for the stream.
func (s *Store) describe(ctx context.Context) (stream, error) {
	ctx, cancel, err := s.begin(ctx, "stream "+s.target.Stream)
	if err != nil {
		return stream{}, err
	}
	defer cancel()
	d := stream{version: s.wire.nc.ConnectedServerVersion()}
	if !newer(d.version, 11) {
		return d, fmt.Errorf("oncenats: the server is NATS %s; 2.11 or newer is needed", d.version)
	}
	m, err := s.wire.wait(ctx, s.wire.send(&nats.Msg{Subject: s.clock.request}, s.clock.note))
	if err == nil {
		err = apiError(m.Data)
	}
	if err != nil {
		return d, explain("stream "+s.target.Stream, err)
	}
	if err := json.Unmarshal(m.Data, &d.StreamInfo); err != nil {
		return d, fmt.Errorf("oncenats: description of the stream is not understood: %w", err)
	}
	return d, nil
}

// newer reports whether the version of NATS is at least 2 and this. 2.11 is the first that removes
// messages each after its own time.
func newer(version string, than int) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return err1 == nil && err2 == nil && (a > 2 || a == 2 && b >= than)
}

// check reports why the stream must not keep records.
func (d stream) check(t Target) []error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncenats: stream %s "+format, append([]any{t.Stream}, args...)...))
	}
	const fix = "; run once migrate"
	c := d.Config
	if d.replicas() > 1 && !newer(d.version, 12) {
		// In 2.11 each replica compares sequence numbers anew (stream.go: processJetStreamMsg), and
		// each removes by its own timer what is over.
		report("is kept by %d servers of NATS %s, of which one may leave out a claim that the others have; "+
			"2.12 or newer is needed", d.replicas(), d.version)
	}
	if len(c.Subjects) != 1 || c.Subjects[0] != t.subjects()+">" {
		report("does not have the subjects %s> and no others%s", t.subjects(), fix)
	}
	if c.MaxMsgsPerSubject != 1 {
		report("keeps %d messages of a subject (max_msgs_per_subject), not 1%s", c.MaxMsgsPerSubject, fix)
	}
	if !c.AllowMsgTTL {
		report("does not let messages have their own time to live (allow_msg_ttl)%s", fix)
	}
	if c.SubjectDeleteMarkerTTL > 0 {
		report("puts a marker in the place of what is over (subject_delete_marker_ttl), which is no record%s", fix)
	}
	if c.SubjectTransform != nil {
		report("changes the subjects of messages (subject_transform), so that records are not found%s", fix)
	}
	if c.MaxAge > 0 {
		report("drops messages that are %v old (max_age), and with them claims: operations would happen again%s", c.MaxAge, fix)
	}
	if c.Discard != jetstream.DiscardNew {
		report("drops old messages when it is full (discard old), and with them claims: operations would happen again%s", fix)
	}
	if c.Retention != jetstream.LimitsPolicy {
		report("drops messages that somebody has read (retention %v); make another one", c.Retention)
	}
	if c.Mirror != nil || len(c.Sources) > 0 {
		report("is a copy of others; make another one")
	}
	if c.Sealed {
		report("is sealed: nothing can be written to it; make another one")
	}
	if c.NoAck {
		report("does not acknowledge messages (no_ack)%s", fix)
	}
	if c.RePublish == nil || c.RePublish.Destination != t.told()+">" {
		report("does not tell of changes (republish to %s>): who waits for another would learn of its end late%s", t.told(), fix)
	}
	return errs
}

// replicas returns how many servers keep the stream.
func (d stream) replicas() int { return max(d.Config.Replicas, 1) }

// peers returns the names of the servers that keep the stream.
func (d stream) peers() []string {
	if d.Cluster == nil {
		return nil
	}
	names := []string{d.Cluster.Leader}
	for _, r := range d.Cluster.Replicas {
		names = append(names, r.Name)
	}
	return names
}
