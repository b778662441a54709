package oncegrpc

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A recordedStream is what a handler sets header and trailer of its response on. Nothing of it is
// sent before the outcome is acknowledged, not even by SendHeader.
type recordedStream struct {
	method string

	mu      sync.Mutex // guards the rest
	header  metadata.MD
	trailer metadata.MD
	sent    bool
}

var _ grpc.ServerTransportStream = (*recordedStream)(nil)

func (s *recordedStream) Method() string { return s.method }

func (s *recordedStream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addHeader(md)
}

func (s *recordedStream) SendHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.addHeader(md)
	s.sent = true
	return err
}

// addHeader adds to the header, unless it is sent as far as the handler knows.
func (s *recordedStream) addHeader(md metadata.MD) error {
	if s.sent {
		return status.Error(codes.Internal, "oncegrpc: header was sent before")
	}
	s.header = metadata.Join(s.header, md)
	return nil
}

func (s *recordedStream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}

func (s *recordedStream) recorded() (header, trailer metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header, s.trailer
}

func (s *recordedStream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header, s.trailer, s.sent = nil, nil, false
}
