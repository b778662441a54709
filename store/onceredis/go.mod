module github.com/oncehq/once/store/onceredis

go 1.26

require (
	github.com/oncehq/once v0.0.0
	github.com/oncehq/once/internal/check v0.0.0
	github.com/oncehq/once/internal/servers v0.0.0
	github.com/redis/rueidis v1.0.79
)

require (
	github.com/anishathalye/porcupine v1.3.1 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
