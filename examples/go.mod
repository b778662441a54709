module github.com/oncehq/once/examples

go 1.26.0

require (
	github.com/oncehq/once v0.0.0
	github.com/oncehq/once/internal/servers v0.0.0
	github.com/oncehq/once/store/onceredis v0.0.0
)

require (
	github.com/redis/rueidis v1.0.79 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
