module github.com/oncehq/once/with/oncecloudevents

go 1.26.0

require (
	github.com/cloudevents/sdk-go/v2 v2.16.2
	github.com/oncehq/once v0.0.0
)
