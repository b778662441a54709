package servers

import "testing"

func TestRabbitMQSpeaksAMQPUntilItIsKilled(t *testing.T) {
	t.Parallel()
	s, err := StartRabbitMQ()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.ready(); err != nil {
		t.Error(err)
	}
	s.Kill()
	if err := s.ready(); err == nil {
		t.Error("a server that was killed is ready")
	}
}
