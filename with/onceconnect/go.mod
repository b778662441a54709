module github.com/oncehq/once/with/onceconnect

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/oncehq/once v0.0.0
	google.golang.org/protobuf v1.36.12
)
