module github.com/oncehq/once/with/onceamqp

go 1.26.0

require (
	github.com/oncehq/once v0.0.0
	github.com/oncehq/once/internal/servers v0.0.0
	github.com/rabbitmq/amqp091-go v1.16.0
)
