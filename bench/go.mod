module github.com/oncehq/once/bench

go 1.26.0

require (
	github.com/oncehq/once v0.0.0
	github.com/oncehq/once/store/onceredis v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/redis/rueidis v1.0.79
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/jackc/pgx/v5 v5.13.0
	github.com/oncehq/once/internal/servers v0.0.0
	github.com/oncehq/once/store/oncepg v0.0.0
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
